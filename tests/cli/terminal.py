"""A terminal, for what is only said to one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence


def run(command: Sequence[str]) -> tuple[int, bytes]:
    """The exit status, and what came on standard error, which is a terminal."""
    import pty  # Unix has it

    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave) as running:
        os.close(slave)
        told = b""
        while chunk := _read(master):
            told += chunk
    os.close(master)
    return running.returncode, told


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # the other side is gone
        return b""
