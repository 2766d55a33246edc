"""The cameras of a machine, by their numbers and their files."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from trtmatte.support.options import option

__all__ = ["FOLDER", "number_of", "refusal"]

FOLDER = Path("/dev")
_FILE: Final = re.compile(r"/dev/video(\d{1,4})")


def number_of(path: str) -> int | None:
    """Return the number of the camera with this file, such as /dev/video0 or a link to it; None for another file."""
    found = _FILE.fullmatch(path) or _FILE.fullmatch(os.path.realpath(path))
    return None if found is None else int(found[1])


def refusal(number: int) -> str:
    """Return why a camera cannot be opened."""
    file = FOLDER / f"video{number}"
    if not sys.platform.startswith("linux"):
        why = f"camera {number} cannot be opened; is it plugged in, and is no other program using it"
    elif not file.exists():
        there = sorted(map(str, FOLDER.glob("video[0-9]*")), key=lambda name: (len(name), name))
        have = f"there is {', '.join(there)}" if there else "this machine has none"
        return f"there is no camera {number}: {have}; {option('camera')} takes another one, an address or a video"
    elif not os.access(file, os.R_OK | os.W_OK):
        return f"camera {number} cannot be opened: {file} may not be read; add yourself to its group, video"
    else:
        why = f"camera {number} cannot be opened; is no other program using it, and does it send pictures"
    return f"{why}? {option('camera')} takes another one, an address or a video"
