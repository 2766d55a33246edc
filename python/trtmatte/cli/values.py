"""Values of flags: each function parses a text, or raises an error that says what was expected.

Numbers have limits here, since a library may not check its own.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from trtmatte.support import quantities

__all__ = [
    *("age", "byte_count", "camera", "name", "number", "number_or_word", "path"),
    *("rate", "raw", "seconds", "setting", "side", "size", "whole"),
]

_LARGEST: Final = 2**31 - 1
_NAME: Final = 255  # bytes of the name of a file, in the usual file systems
_PATH: Final = 4096
_SIDE: Final = 1 << 16  # pixels
_SECONDS: Final = 10_000_000  # a third of a year
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_GROUPED: Final = re.compile(r"[+-]?[0-9](_?[0-9]){0,17}")  # as Python reads it: 80_000
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_-]*")
_SIZE: Final = re.compile(r"([0-9]{1,6})[x×*]([0-9]{1,6})")


def whole(least: int, most: int = _LARGEST) -> Callable[[str], int]:
    """Return the parser of a whole number in these limits."""

    def parse(text: str) -> int:
        if not (_GROUPED.fullmatch(text.strip()) and least <= (value := int(text)) <= most):
            raise _wrong(text, f"a whole number, {least}…{most}")
        return value

    return parse


def number(above: float = -_LARGEST, most: float = _LARGEST) -> Callable[[str], float]:
    """Return the parser of a number above a limit, and at most another one."""

    def parse(text: str) -> float:
        value = _finite(text)
        if value is None or not above < value <= most:
            limits = "" if (above, most) == (-_LARGEST, _LARGEST) else f" above {above:g}, up to {most:g}"
            raise _wrong(text, f"a number{limits}")
        return value

    return parse


def number_or_word(text: str) -> float | str:
    """Parse a number or a word."""
    value = _finite(text)
    if value is None and not _WORD.fullmatch(text):
        raise _wrong(text, "a number or a word")
    return text if value is None else value


def size(text: str) -> tuple[int, int]:
    """Parse a size, such as 1920x1080."""
    found = _SIZE.fullmatch(text.strip())
    sides = tuple(map(int, found.groups())) if found else (0, 0)
    if not all(1 <= side <= _SIDE for side in sides):
        raise _wrong(text, f"WIDTHxHEIGHT, such as 1920x1080, each 1…{_SIDE}")
    return sides[0], sides[1]


def side(text: str) -> int:
    """Parse a width or a height."""
    return whole(1, _SIDE)(text)


def rate(text: str) -> str:
    """Check a frame rate: a number or a fraction above 0."""
    found = re.fullmatch(r"([0-9.]{1,12})(?:/([0-9]{1,9}))?", text.strip())
    top, bottom = (_finite(found[1]), int(found[2] or 1)) if found else (None, 0)
    if not (top and bottom):
        raise _wrong(text, "frames a second, such as 25 or 24000/1001")
    return text


def raw(text: str) -> str:
    """Check the size and the frame rate of raw frames."""
    try:
        frame, at, frames_a_second = text.partition("@")
        size(frame)
        if at:
            rate(frames_a_second)
    except argparse.ArgumentTypeError:
        raise _wrong(text, "WIDTHxHEIGHT@FPS, such as 1280x720@30 or 1280x720@24000/1001") from None
    return text


def seconds(text: str) -> float:
    """Parse a time: seconds, M:S or H:M:S."""
    if re.fullmatch(r"([0-9]{1,9}:){0,2}[0-9]{1,9}(\.[0-9]{1,9})?", text) is None:
        raise _wrong(text, "seconds or [H:]M:S, such as 90.5 or 1:30.5")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    if total > _SECONDS:
        raise _wrong(text, f"a time of at most {_SECONDS} seconds")
    return total


def byte_count(text: str) -> int:
    """Parse a number of bytes, such as 2GiB."""
    value = quantities.size(text)
    if value is None:
        raise _wrong(text, "a size, such as 2GiB or 500MB")
    return value


def age(text: str) -> float:
    """Parse a span of time in days, such as 30d."""
    value = quantities.days(text)
    if value is None:
        raise _wrong(text, "a number and m, h, d or w: minutes, hours, days or weeks, such as 30d")
    return value


def name(text: str) -> str:
    """Check a name, of a file or of something else: it is not empty, and a file could have it."""
    try:
        encoded = os.fsencode(text)
    except UnicodeError:
        raise _wrong(text, "letters that the system can encode") from None
    if not encoded or b"\0" in encoded:
        raise _wrong(text, "a name, without null characters")
    parts = [b""] if "://" in text else encoded.split(os.fsencode(os.sep))  # addresses may have long names
    if len(encoded) > _PATH or max(map(len, parts)) > _NAME:
        raise _wrong(text, f"a name of at most {_NAME} bytes, in a path of at most {_PATH}")
    return text


def path(text: str) -> Path:
    """Parse the path of a file or a folder."""
    return Path(name(text))


def camera(text: str) -> int | str:
    """Parse the number of a camera; anything else is the name of a file."""
    return whole(0, 9999)(text) if _WHOLE.fullmatch(text) or text.isdecimal() else name(text)


def setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE. The value is a size, a number, true or false, a word, or several with commas between."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise _wrong(text, "NAME=VALUE, such as downsample_ratio=0.25")
    return name.replace("-", "_"), _value(value)


def _value(text: str) -> Any:
    if "," in text:
        return tuple(_value(part) for part in text.split(","))
    if _SIZE.fullmatch(text):
        return size(text)
    if _WHOLE.fullmatch(text):
        return int(text)
    value = _finite(text)
    return {"true": True, "false": False}.get(text, text) if value is None else value


def _finite(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    return value if math.isfinite(value) else None


def _wrong(text: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{reprlib.repr(text)} is given; expected {expected}")
