"""The folders that a command makes for its outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from trtmatte.errors import OutputError

__all__ = ["made"]


@contextlib.contextmanager
def made(folders: Iterable[Path]) -> Iterator[None]:
    """Make the folders. After an error, remove those again that are new and empty."""
    new = []
    try:
        for folder in folders:
            new += [each for each in (folder, *folder.parents) if not each.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"the folder {folder} cannot be made: {error.strerror}; choose another with -o"
                ) from error
            if not os.access(folder, os.W_OK):
                raise OutputError(f"the folder {folder} cannot be written to; choose another with -o")
        yield
    except BaseException:
        for each in sorted(new, reverse=True):
            with contextlib.suppress(OSError):  # something is in it
                each.rmdir()
        raise
