"""Files that several processes share: written whole or not at all, and one process at a time."""

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

from trtmatte.errors import EngineError

__all__ = ["alone", "replacing"]

_ON_WINDOWS: Final = os.name == "nt"


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time; others wait here. The lock goes when the process does."""
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
    """A new file that takes the place of `path` once it is complete and on the disk. On failure nothing is left, and
    what a process left that was killed is removed by the next one."""
    part: Path | None = None
    try:
        _remove_remains(path)
        part, file = _new_part(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not _ON_WINDOWS:  # while it is locked; there an open file cannot be renamed, nor be removed by others
                os.replace(part, path)
        if _ON_WINDOWS:
            os.replace(part, path)
    except BaseException as error:
        if part is not None:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise EngineError(f"{path} cannot be written: {error.strerror or error}; {_remedy(error)}") from error
        raise


def _new_part(path: Path) -> tuple[Path, IO[bytes]]:
    """A file of another name, locked for as long as it is written, so that nobody takes it for remains."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        file = part.open("xb")
        if _ON_WINDOWS:
            return part, file
        _fcntl().flock(file, _fcntl().LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # nobody was quicker than the lock
            return part, file
        file.close()


def _remove_remains(path: Path) -> None:
    """Of processes that were killed: what nobody has locked."""
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
