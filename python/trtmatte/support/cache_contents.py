"""The files in the cache folder, and their removal: engines of older code first, then what was not used for longest.

Other processes may use the cache meanwhile. A file that one of them is making is left alone; one that is open stays
readable for it. Models are removed only on request: some of them cannot be downloaded again.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trtmatte.errors import EngineError, SettingError
from trtmatte.support import files
from trtmatte.support.cache_folder import cache_folder
from trtmatte.support.packages import code_hash
from trtmatte.support.quantities import size as size_of

__all__ = ["ENGINES", "MODELS", "Entry", "code_mark", "entries", "limit", "prune", "shrink"]

ENGINES: Final = "engines"
MODELS: Final = "models"
BENCHMARKS: Final = "benchmarks"
_MADE: Final = {ENGINES: ".trtm", "openvino": ".network", "timings": ".cache"}
"""The folders of files that are made again when they are needed, and what the files are called."""

_KINDS: Final = (*_MADE, BENCHMARKS, MODELS)

_DEFAULT: Final = 4 << 30
_VARIABLE: Final = "TRTMATTE_CACHE_SIZE"
_UNLIMITED: Final = "none"
_FRESH: Final = 300.0  # seconds; another process may have made such a file, and be about to open it
_LOCK: Final = ".lock"
_PART: Final = re.compile(r"\..*\.[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class Entry:
    """A file of the cache. `kind` is the name of its folder, `used` the time of its last use."""

    kind: str
    path: Path
    size: int
    used: float

    @property
    def is_old(self) -> bool:
        """An engine that other code has built: this code never opens it."""
        return self.kind == ENGINES and not self.path.name.startswith((code_mark(), f".{code_mark()}"))

    @property
    def is_made(self) -> bool:
        """A file that is made again when it is needed. Others are somebody's own: the cache can lie in any folder."""
        name = self.path.name
        return name.endswith(_MADE.get(self.kind, "/")) or (self.kind in _MADE and _PART.fullmatch(name) is not None)


def code_mark() -> str:
    """The beginning of the names of this code's engines."""
    return code_hash()[:12]


def limit() -> int | None:
    """The bytes that what the library makes may take: `TRTMATTE_CACHE_SIZE`, or 4 GiB. None stands for no limit."""
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return _DEFAULT
    found = size_of(text)
    if found is None and text.lower() != _UNLIMITED:
        raise SettingError(f"{_VARIABLE} is {text!r}; expected a size such as 4GiB, or {_UNLIMITED}")
    return found


def entries() -> list[Entry]:
    """The files of the cache. Locks, which are empty, are left out."""
    return [entry for kind in _KINDS for entry in _files(kind, cache_folder() / kind)]


def prune(
    candidates: Iterable[Entry], size: int | None, *, older_than: float | None = None, dry: bool = False
) -> list[Entry]:
    """Remove files until the rest has this size, and those that were last used before a time. Returns them.

    Engines of older code go in any case. With `dry`, nothing is removed.
    """
    left = sorted(candidates, key=lambda entry: (not entry.is_old, entry.used))
    total = sum(entry.size for entry in left)
    gone = []
    for entry in left:
        is_over = size is not None and total > size
        is_aged = older_than is not None and entry.used < older_than
        if (entry.is_old or is_over or is_aged) and (dry or _removed(entry)):
            gone.append(entry)
            total -= entry.size
    return gone


def shrink(keep: Path, size: int | None) -> None:
    """Keep what the library makes within a size, after it has made `keep`. Nothing is removed below that size."""
    if size is None:
        return
    made = [entry for entry in entries() if entry.is_made]
    if sum(entry.size for entry in made) <= size:
        return
    now = time.time()
    spared = {entry.path for entry in made if entry.path == keep or now - entry.used < _FRESH}
    free = [entry for entry in made if entry.path not in spared]
    prune(free, max(0, size - sum(entry.size for entry in made if entry.path in spared)))


def _files(kind: str, folder: Path) -> Sequence[Entry]:
    found: list[Entry] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return found
    for path in (folder / name for name in names if not name.endswith(_LOCK)):
        with suppress(OSError):  # it was removed meanwhile
            state = path.lstat()
            if stat.S_ISREG(state.st_mode):
                found.append(Entry(kind, path, state.st_size, max(state.st_mtime, state.st_atime)))
    return found


def _removed(entry: Entry) -> bool:
    """Remove a file, unless another process is making it."""
    if _PART.fullmatch(entry.path.name):
        return files.removed_if_unlocked(entry.path)
    locked = str(entry.path).removesuffix(".part")  # a download that was not finished is resumed under the same lock
    lock = entry.path.with_suffix(_LOCK) if entry.kind == ENGINES else Path(f"{locked}{_LOCK}")
    try:
        if not lock.exists():
            entry.path.unlink()
            return True
        with files.alone_at_once(lock) as is_ours:
            if is_ours:
                entry.path.unlink()
                lock.unlink()
            return is_ours
    except (OSError, EngineError):  # such as a folder of another user
        return False
