"""A command as a process: its streams, and how it ends. Every end is one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, TextIO

from trtmatte.errors import FrameError, InputError, ModelError, OutputError, SettingError, TrtmatteError, printable
from trtmatte.support import signals
from trtmatte.support.options import as_flags
from trtmatte.support.text import one_line

__all__ = ["FAILED", "WRONG", "build", "complain", "finished", "log", "note", "parsed", "tell", "trtmatte"]

FAILED: Final = 1
WRONG: Final = 2
DEFECT: Final = 70  # EX_SOFTWARE of sysexits.h
READER_IS_GONE: Final = 141  # as of a program that SIGPIPE ends

_FLAGS: Final = {
    "output": "-o",
    "kinds": "--output",
    "overwrite": "-y",
    "output_video_mbps": "--mbps",
    "sound": "--no-sound",
    "window": "--no-window",
}
"""The flags that have another name than their argument in Python."""

_GIVEN_IS_WRONG: Final = (FrameError, InputError, ModelError, SettingError)
_REPORT: Final = "this is a defect of trtmatte; please report it, with TRTMATTE_DEBUG=1 for the traceback"


def trtmatte() -> NoReturn:
    """Run `trtmatte`."""
    _run("trtmatte", "main")


def build() -> NoReturn:
    """Run `trtmatte-build`."""
    _run("trtmatte-build", "build")


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments. After a help or an error the process ends, by SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may lack letters of helps and names
    try:
        return parser.parse_args(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    except (OutputError, BrokenPipeError) as error:
        status = _failed(parser.prog, error)
    raise SystemExit(_flushed(parser.prog, status))


def finished(name: str, work: Callable[[], int]) -> int:
    """Do the work of the command called `name`. Return its exit status, which every error and signal has as well."""
    try:
        with signals.ending(name), as_flags(_FLAGS):
            status = work()
    except KeyboardInterrupt as stopped:
        status = _stopped(name, stopped)
    except Exception as error:  # of a library that a signal interrupted, maybe
        status = _stopped(name) if signals.was_raised() else _failed(name, error)
    return _flushed(name, status)


def tell(text: str) -> None:
    """Print a result."""
    try:
        print(printable(text))
    except OSError as error:
        raise _unwritable(error) from error


def complain(name: str, message: object) -> None:
    """Print a message of the command called `name` in one line on standard error, if that can be written."""
    note(f"{name}: {one_line(message)}")


def note(message: str) -> None:
    """Print one line on standard error, if that can be written."""
    with suppress(OSError):
        print(printable(message), file=sys.stderr)


def log(name: str, level: int = logging.WARNING) -> None:
    """Print what is logged like the messages of the command called `name`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"{name}: %(message)s" if name else "%(message)s"))
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("trtmatte").setLevel(level)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _run(name: str, module: str) -> NoReturn:
    _open_streams()
    for number in (signal.SIGINT, signal.SIGTERM):  # until the command takes over, there is nothing to clean up
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: os._exit(128 + number))
    try:
        Path.cwd()
    except OSError:
        complain(name, "the current folder is gone; change to another one")
        sys.exit(FAILED)
    sys.exit(importlib.import_module(f"trtmatte.cli.{module}").main())


def _open_streams() -> None:
    """Open the standard streams that are closed on the null device, so that no file gets their numbers.

    What is written to a closed standard output must not seem to have arrived, so writing to it stays an error.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _unwritable(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return OutputError(f"standard output cannot be written: {error.strerror or error}")


def _stopped(name: str, message: object = "") -> int:
    complain(name, str(message) or "stopped")
    return 128 + signals.received()


def _failed(name: str, error: Exception) -> int:
    if isinstance(error, BrokenPipeError):
        return READER_IS_GONE
    if os.environ.get("TRTMATTE_DEBUG", "0") not in ("", "0"):
        with suppress(OSError):
            traceback.print_exception(error)
    if isinstance(error, TrtmatteError):
        complain(name, error)
        return WRONG if isinstance(error, _GIVEN_IS_WRONG) else FAILED
    if isinstance(error, MemoryError):
        complain(name, "there is not enough memory; smaller frames or models need less")
        return FAILED
    what = ": ".join(filter(None, (type(error).__name__, str(error))))
    complain(name, f"{what} ({_REPORT})")
    return DEFECT


def _flushed(name: str, status: int) -> int:
    """Return the status, which is another one if standard output could not be written to its end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _failed(name, _unwritable(error))
        _drop(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)
    return status


def _drop(stream: TextIO) -> None:
    """Lead a stream that cannot be written to the null device: Python writes the rest of it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
