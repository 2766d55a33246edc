"""The outputs of a run: they may replace files, but none that is read, whatever name it has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trtmatte.errors import SettingError
from trtmatte.media import pictures
from trtmatte.media.places import kind_of, place_of

__all__ = ["files_of", "require_replaceable"]


def files_of(given: Any) -> list[Path]:
    """Return the files that a source, a plate or a background is read from; none for a colour or an address."""
    if not isinstance(given, (str, Path)) or str(given) == "-":
        return []
    place = place_of(given)
    return (pictures.find(place) or [place]) if isinstance(place, Path) else []


def require_replaceable(places: Iterable[Path], reads: Iterable[Path]) -> None:
    """Raise a SettingError if a place is one of the files that are read, or exists and is no file.

    Files are compared by device and inode: links and other spellings are the same file.
    """
    read = {(found.st_dev, found.st_ino): path for path in reads if (found := _found(path)) is not None}
    for place in places:
        found = _found(place)
        if found is None:
            continue
        if kind := kind_of(found):
            raise SettingError(f"{place} is {kind}; expected the name of a file")
        if (same := read.get((found.st_dev, found.st_ino))) is not None:
            name = "" if same == place else f", as {same}"
            raise SettingError(f"{place} is an input as well{name}; choose another path")


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
