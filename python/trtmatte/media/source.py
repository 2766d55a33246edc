"""Sources of frames: the interface of all readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from trtmatte.media.colour import Colour

Array = np.ndarray[Any, Any]

RATE = Fraction(30)  # of pictures, if no rate is given


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


@dataclass(frozen=True)
class Sound:
    """The audio and subtitles of a video, and the part of them that belongs to the frames.

    Times are seconds from the first timestamp of the file. `shift` is added to them in the output.
    """

    path: Path
    start: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)


class Source(Protocol):
    """A source of frames in the order of time. Frames can be read again unless they come from a pipe."""

    facts: Facts

    def frames(self) -> Iterator[Frame]:
        """Read the frames. Raises a TruncatedError after the last good frame of a damaged source."""


def positive(value: float | Fraction | str) -> Fraction | None:
    """The value as a fraction if it is a positive number, otherwise None."""
    try:
        rate = Fraction(value).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return rate if rate > 0 else None
