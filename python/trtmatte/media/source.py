"""Sources of frames: the interface of all readers."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from trtmatte.errors import SettingError
from trtmatte.media.colour import Colour
from trtmatte.media.places import Place
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

Array = np.ndarray[Any, Any]

RATE: Final = Fraction(30)  # of pictures, if no rate is given
MOST_RATE: Final = Fraction(10_000)
MOST_PIXELS: Final = 1 << 27  # a frame of 16K; FFmpeg takes twice that
_FINE: Final = 100_000  # the largest denominator of a rate, which is stored in 32 bits


class Frame(NamedTuple):
    """A picture, uint8 RGB (H, W, 3), with its timestamp and duration in units of the source's `time_base`."""

    picture: Array
    pts: int
    duration: int


@dataclass(frozen=True)
class Facts:
    """Facts about a source that are known before its frames are read."""

    name: str  # for messages
    size: tuple[int, int]  # width and height of the frames as they are handed out
    rate: Fraction  # frames a second, on average
    time_base: Fraction
    colour: Colour
    count: int | None = None  # the approximate number of frames, if it is known
    aspect: Fraction = Fraction(1)  # of a pixel
    is_still: bool = False  # one picture
    sound: Sound | None = None
    timecode: str = ""  # of the first frame that is handed out
    fields: str = ""  # of interlaced frames: tff or bff, whichever is first
    lost: str = ""  # a message: what of the source is lost in 8-bit RGB frames


@dataclass(frozen=True)
class Sound:
    """The audio and subtitles of a video, and the part of them that belongs to the frames.

    Times are seconds from the first timestamp of the file. `shift` is added to them in the output.
    """

    place: Place
    start: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)
    limits: Limits | None = None


class Source(Protocol):
    """A source of frames in the order of time. Frames can be read again unless they come from a pipe."""

    facts: Facts

    def frames(self) -> Iterator[Frame]:
        """Read the frames. Raises a TruncatedError after the last good frame of a damaged source."""


def rate_of(value: float | Fraction | str) -> Fraction | None:
    """The value as frames a second; None if it is no number above 0, or more than anybody has."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9}|/\d{1,9})?", value.strip(), re.ASCII) is None:
        return None
    try:
        rate = Fraction(value).limit_denominator(_FINE)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return rate if 0 < rate <= MOST_RATE else None


def size_of(name: str, value: Any) -> tuple[int, int]:
    """The value of a setting as a width and a height."""
    try:
        width, height = (operator.index(side) for side in value)
    except (TypeError, ValueError):
        width = height = 0
    if width < 1 or height < 1 or width * height > MOST_PIXELS:
        raise SettingError(
            f"{option(name)} is {value}; expected a width and a height above 0, and at most {MOST_PIXELS} pixels"
        )
    return width, height
