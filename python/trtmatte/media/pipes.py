"""The bytes of standard input and standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trtmatte.errors import InputError, OutputError, SettingError
from trtmatte.media.ffmpeg import reason
from trtmatte.support.limits import Limits

__all__ = ["StandardOutput", "read_all", "standard_input", "standard_output", "told", "write"]


def standard_input() -> Any:
    """Return the binary standard input, which a process may have been started without."""
    if sys.stdin is None:
        raise InputError("standard input is closed; expected a pipe")
    return sys.stdin.buffer


def standard_output() -> Any:
    """Return the binary standard output, which a process may have been started without."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; expected a pipe")
    return sys.stdout.buffer


@contextmanager
def told() -> Iterator[None]:
    """Raise an OutputError for each error of writing to standard output."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unwritable(error) from error


def read_all(limits: Limits | None = None) -> bytes:
    """Return all bytes of standard input; with limits, at most one more than they allow. A terminal is refused."""
    pipe = standard_input()
    if pipe.isatty():
        raise SettingError("standard input is a terminal; expected the bytes of a picture: … - < photo.jpg")
    try:
        data: bytes = pipe.read(-1 if limits is None else limits.file_bytes + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"standard input cannot be read: {reason(error)}") from error
    return data


def write(data: bytes) -> None:
    """Write a result to standard output. A reader that is gone is a BrokenPipeError, as of other results."""
    pipe = standard_output()
    try:
        pipe.write(data)
        pipe.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise _unwritable(error) from error


class StandardOutput:
    """Standard output as the place of a picture in this format. A terminal is refused."""

    def __init__(self, format: str) -> None:
        self.format = format
        if standard_output().isatty():
            raise SettingError("standard output is a terminal, which shows no pictures: -o FILE, or > FILE")

    def write(self, data: bytes) -> None:
        write(data)

    def __str__(self) -> str:
        return "standard output"


def _unwritable(error: Exception) -> OutputError:
    return OutputError(f"standard output cannot be written: {reason(error)}")
