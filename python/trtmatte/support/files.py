"""Files that several processes share: one process at a time, written completely or not at all."""

from __future__ import annotations

import errno
import glob
import importlib
import io
import os
import secrets
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from trtmatte.errors import EngineError, SettingError, TrtmatteError

__all__ = ["alone", "alone_at_once", "close_with", "removed_if_unlocked", "replacing", "require_writable"]

_ON_WINDOWS: Final = os.name == "nt"
_LONGEST_NAME: Final = 255  # bytes, in the usual file systems
_PRIVATE: Final = 0o600
_NEW: Final = 0o666  # of which the umask takes its part


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file: other processes wait. The lock ends with the process."""
    file = _locked(lock)
    try:
        yield
    finally:
        with suppress(OSError):  # nothing was written to it
            file.close()


@contextmanager
def alone_at_once(lock: Path) -> Iterator[bool]:
    """Hold a lock file that exists, without waiting. Gives False if another process holds it."""
    try:
        file = open(lock, "r+b", opener=_open_in_place)  # noqa: SIM115
    except OSError:
        yield False
        return
    with file:
        yield _taken(file) and bool(os.fstat(file.fileno()).st_nlink)


def removed_if_unlocked(path: Path) -> bool:
    """Remove a file that no process has locked. Returns False if it stays."""
    with suppress(OSError), open(path, "rb", opener=_open_in_place) as file:
        if _ON_WINDOWS or _taken(file):
            path.unlink()
            return True
    return False


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that replaces `path` once it is complete and on the disk. It gets the permissions of the old one.

    A failure leaves nothing behind. The remains of a killed process are removed by the next one.
    """
    try:
        old = _require_file(path)
        _remove_remains(path)
        part = _Part(path)
        try:
            with part.open(None if old is None else stat.S_IMODE(old.st_mode)) as file:
                yield file
                file.flush()
                part.finish(file)
                if not _ON_WINDOWS:  # while it is locked; Windows cannot rename an open file
                    os.replace(part.path, path)
            if _ON_WINDOWS:
                os.replace(part.path, path)
        finally:
            part.remove()
    except TrtmatteError:
        raise
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error.strerror or error}; {_remedy(error)}") from error


def close_with(owner: object, file: IO[bytes] | io.FileIO) -> None:
    """Close a file that is only read when its owner goes. A failure then loses nothing, and is not told."""
    weakref.finalize(owner, _close, file)


def _close(file: IO[bytes] | io.FileIO) -> None:
    with suppress(OSError):
        file.close()


def require_writable(path: Path, example: str) -> Path:
    """The path of a file that can be written. Raises an error before minutes are spent on what cannot be kept."""
    if path.is_dir():
        raise SettingError(f"{path} is a folder; expected the name of a file, like {path / example}")
    if not path.parent.is_dir():
        raise SettingError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise EngineError(f"{path} cannot be written: {path.parent} is write-protected; choose another place")
    _require_file(path)
    return path


class _Part:
    """The file while it is written, under another name and locked, so that no process takes it for remains.

    Its name is known before it is made. It is removed by `remove`, or with this object where an interrupt came before
    or within that, or at the end of the process.
    """

    def __init__(self, path: Path) -> None:
        self._whole, self._process = path, os.getpid()
        self._name()

    def open(self, permissions: int | None) -> IO[bytes]:
        """Make the file, private while it is written. `permissions` are those of the file that it replaces."""
        while True:
            opener = partial(os.open, mode=_NEW if permissions is None else _PRIVATE)
            file: IO[bytes] = open(self.path, "xb", opener=opener)  # noqa: SIM115
            if _ON_WINDOWS:
                return file
            _fcntl().flock(file, _fcntl().LOCK_EX)
            state = os.fstat(file.fileno())
            if state.st_nlink:  # no other process removed it before it was locked
                self._permissions = stat.S_IMODE(state.st_mode) if permissions is None else permissions & 0o777
                _permit(file, _PRIVATE)
                return file
            file.close()
            self._name()

    def finish(self, file: IO[bytes]) -> None:
        """Give the file its permissions, and wait until it is on the disk."""
        if not _ON_WINDOWS:
            _permit(file, self._permissions)
        os.fsync(file.fileno())

    def remove(self) -> None:
        _remove_if_ours(self.path, self._process)
        self._removal.detach()

    def _name(self) -> None:
        self.path = self._whole.with_name(f".{_short(self._whole.name)}.{secrets.token_hex(4)}.part")
        self._removal = weakref.finalize(self, _remove_if_ours, self.path, self._process)


def _short(name: str) -> str:
    """The part of a name that leaves room for what a temporary name adds to it."""
    return os.fsdecode(os.fsencode(name)[: _LONGEST_NAME - len("..01234567.part")])


def _remove_if_ours(part: Path, process: int) -> None:
    if os.getpid() == process:  # and not a fork of it
        part.unlink(missing_ok=True)


def _permit(file: IO[bytes], permissions: int) -> None:
    with suppress(PermissionError):  # of a file system without permissions
        os.fchmod(file.fileno(), permissions)


def _require_file(path: Path) -> os.stat_result | None:
    """The state of the file at this path, if there is one. Raises an EngineError if it is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        raise EngineError(f"{path} cannot be written: it is {_kind(state)}; expected the name of a file")
    return state


def _kind(state: os.stat_result) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(state.st_mode), "a device")


def _remove_remains(path: Path) -> None:
    """Remove the files of killed processes, which nobody has locked."""
    for part in path.parent.glob(f".{glob.escape(_short(path.name))}.*.part"):
        removed_if_unlocked(part)


def _locked(lock: Path) -> IO[bytes]:
    try:
        while True:
            file = open(lock, "a+b", opener=_open_in_place)  # noqa: SIM115
            if _ON_WINDOWS:
                msvcrt = importlib.import_module("msvcrt")
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return file
            _fcntl().flock(file, _fcntl().LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # whoever held it before did not remove it
                return file
            file.close()
    except OSError as error:
        why = error.strerror or error
        raise EngineError(
            f"the lock {lock} cannot be used: {why}; remove it, or choose another cache folder"
        ) from error


def _taken(file: IO[bytes]) -> bool:
    """Lock a file without waiting. Returns False if another process has it."""
    try:
        if _ON_WINDOWS:
            msvcrt = importlib.import_module("msvcrt")
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            _fcntl().flock(file, _fcntl().LOCK_EX | _fcntl().LOCK_NB)
    except OSError:
        return False
    return True


def _open_in_place(path: str, flags: int) -> int:
    """Open a file, and neither what a link leads to nor a FIFO, which would wait for its other side."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, _PRIVATE)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {_kind(state)}, expected a file")
    return descriptor


def _fcntl() -> Any:
    return importlib.import_module("fcntl")


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "make its folder first"
    return "free some space, or choose another disk" if error.errno == errno.ENOSPC else "choose another place for it"
