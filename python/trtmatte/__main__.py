"""`python -m trtmatte`: the command `trtmatte`, also where the folder of commands is not on the path."""

from __future__ import annotations

from trtmatte.cli import process

if __name__ == "__main__":
    process.trtmatte()
