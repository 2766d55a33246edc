"""Pictures that appear in a folder, each once it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from trtmatte.errors import InputError
from trtmatte.media import pictures, still
from trtmatte.media.still import Still
from trtmatte.support.limits import Limits

__all__ = ["Arrivals"]

_PATIENCE: Final = 3.0  # seconds without a change, after which a picture that cannot be read is a damaged one


class _State(NamedTuple):
    """The state of a file: another one is another picture."""

    inode: int
    size: int
    changed: int  # nanoseconds


class _Waiting(NamedTuple):
    state: _State
    since: float


class Arrivals:
    """The pictures of a folder that are new or have changed. `finish` has to be called for each that is done with.

    A picture is whole if its file did not change between two looks and decodes to its end. Hidden files and folders are
    left out, and so are files with other suffixes, such as `.part`.
    """

    def __init__(self, folder: Path, limits: Limits | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._folder, self._limits, self._clock = folder, limits, clock
        self._done: dict[Path, _State] = {}
        self._waiting: dict[Path, _Waiting] = {}

    def look(self) -> Iterator[Path]:
        """Give the files that did not change since the last look, in natural order."""
        found = self._found()
        for path in self._done.keys() - found.keys():
            del self._done[path]
        for path in self._waiting.keys() - found.keys():
            del self._waiting[path]
        for path, state in found.items():
            if self._done.get(path) != state and self._is_settled(path, state):
                yield path

    def read(self, path: Path) -> Still | None:
        """Read a picture of the last look; None if it is not whole yet. Raises an InputError if it stays unreadable."""
        state, since = self._waiting[path]
        try:
            picture = still.read(path, self._limits)
        except InputError:
            if self._clock() - since < _PATIENCE:
                return None
            raise
        return picture if _state(path) == state else None

    def finish(self, path: Path) -> None:
        """Leave a picture of the last look out from now on, until it changes."""
        self._done[path] = self._waiting.pop(path).state

    def _is_settled(self, path: Path, state: _State) -> bool:
        """Report if the file is as at the last look."""
        before = self._waiting.get(path)
        if before is None or before.state != state:
            self._waiting[path] = _Waiting(state, self._clock())
            return False
        return state.size > 0 or self._clock() - before.since >= _PATIENCE

    def _found(self) -> dict[Path, _State]:
        try:
            with os.scandir(self._folder) as entries:
                named = sorted((Path(entry.path) for entry in entries), key=pictures.natural)
        except OSError as error:
            raise InputError(f"the folder {self._folder} cannot be read: {error.strerror}") from error
        states = ((path, _state(path)) for path in named if pictures.is_picture(path))
        return {path: state for path, state in states if state is not None}


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:  # it is gone
        return None
    return _State(found.st_ino, found.st_size, found.st_mtime_ns)
