"""Files beside a model that hold its weights: plain files in the same folder, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from trtmatte.errors import ModelError
from trtmatte.support.text import shown

__all__ = ["open_beside"]

_REMEDY = "put the weights into the model's own folder, as a file of their own, or into the model itself"


def open_beside(model: Path, name: str) -> int:
    """A descriptor of the file that a model names, opened for reading.

    Raises a ModelError for a name in another folder, a link, and whatever else is no plain file; an OSError if it
    cannot be opened.
    """
    title = f"{model} keeps weights in {shown(name)!r}"
    if PurePosixPath(name).parts != (os.path.basename(name),) or name in (".", "..") or {*name} & {"\0", "\\", ":"}:
        raise ModelError(f"{title}, which is not the name of a file beside it; {_REMEDY}")
    place = model.parent / name
    if place.is_symlink():  # where the system cannot refuse to follow links
        raise ModelError(f"{title}, which is a link; {_REMEDY}")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(place, flags)
    try:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            raise ModelError(f"{title}, which is no file; {_REMEDY}")
        if state.st_nlink > 1:
            raise ModelError(f"{title}, which has other names too (hard links); {_REMEDY}")
    except BaseException:
        os.close(file)
        raise
    return file
