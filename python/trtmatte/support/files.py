"""Files that several processes share: one process at a time, written completely or not at all."""

from __future__ import annotations

import errno
import glob
import importlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from trtmatte.errors import EngineError, SettingError

__all__ = ["alone", "replacing", "require_writable"]

_ON_WINDOWS: Final = os.name == "nt"


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file: other processes wait. The lock ends with the process."""
    with lock.open("ab") as file:
        if _ON_WINDOWS:
            msvcrt = importlib.import_module("msvcrt")
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            _fcntl().flock(file, _fcntl().LOCK_EX)
        yield


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that replaces `path` once it is complete and on the disk.

    A failure leaves nothing behind. The remains of a killed process are removed by the next one.
    """
    part: Path | None = None
    try:
        _remove_remains(path)
        part, file = _new_part(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not _ON_WINDOWS:  # while it is locked; Windows cannot rename an open file
                os.replace(part, path)
        if _ON_WINDOWS:
            os.replace(part, path)
    except BaseException as error:
        if part is not None:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise EngineError(f"{path} cannot be written: {error.strerror or error}; {_remedy(error)}") from error
        raise


def require_writable(path: Path, example: str) -> Path:
    """The path of a file that can be written. Raises an error before minutes are spent on what cannot be kept."""
    if path.is_dir():
        raise SettingError(f"{path} is a folder; expected the name of a file, like {path / example}")
    if not path.parent.is_dir():
        raise SettingError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise EngineError(f"{path} cannot be written: {path.parent} is write-protected; choose another place")
    return path


def _new_part(path: Path) -> tuple[Path, IO[bytes]]:
    """A file with another name, locked while it is written, so that no process takes it for remains."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        file = part.open("xb")
        if _ON_WINDOWS:
            return part, file
        _fcntl().flock(file, _fcntl().LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # no other process removed it before it was locked
            return part, file
        file.close()


def _remove_remains(path: Path) -> None:
    """Remove the files of killed processes, which nobody has locked."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), part.open("rb") as file:
            if not _ON_WINDOWS:
                _fcntl().flock(file, _fcntl().LOCK_EX | _fcntl().LOCK_NB)
            part.unlink()


def _fcntl() -> Any:
    return importlib.import_module("fcntl")


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "make its folder first"
    return "free some space, or choose another disk" if error.errno == errno.ENOSPC else "choose another place for it"
