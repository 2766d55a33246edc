"""SMPTE timecodes: read from a video, and moved to a later frame."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

__all__ = ["advanced", "timecode_of"]

_KEY: Final = "timecode"
_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)([:;.])(\d\d)", re.ASCII)
_HOURS: Final = 24


def timecode_of(container: Any, stream: Any) -> str:
    """Return the timecode of the first frame, by the video's tags, those of a timecode track, or those of the file.

    Returns an empty text if there is none that can be read.
    """
    others = [each for each in container.streams if each.type == "data"]
    for tags in (stream.metadata, *(each.metadata for each in others), container.metadata):
        for key, value in tags.items():
            if key.lower() == _KEY and _FORM.fullmatch(value):
                return str(value)
    return ""


def advanced(timecode: str, frames: int, rate: Fraction) -> str:
    """Return the timecode of a later frame. After a semicolon or a point, frame numbers are dropped (29.97 frames)."""
    found = _FORM.fullmatch(timecode)
    second = round(rate)
    if found is None or second < 1:
        return timecode
    hours, minutes, seconds, frame = (int(found[group]) for group in (1, 2, 3, 5))
    dropped = second // 15 if found[4] != ":" else 0  # numbers a minute, but not in each tenth one
    count = ((hours * 60 + minutes) * 60 + seconds) * second + frame - dropped * _drops(hours * 60 + minutes)
    return _written(count + frames, second, dropped, found[4])


def _drops(minutes: int) -> int:
    return minutes - minutes // 10


def _written(count: int, second: int, dropped: int, separator: str) -> str:
    tenth = 600 * second - 9 * dropped  # frames in ten minutes
    count %= _HOURS * 6 * tenth
    tens, rest = divmod(count, tenth)
    within = max(0, rest - dropped) // (60 * second - dropped) if dropped else rest // (60 * second)
    count += dropped * (9 * tens + within)
    seconds, frame = divmod(count, second)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{frame:02}"
