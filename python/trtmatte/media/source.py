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

RATE = Fraction(30)  # of pictures, where nobody says how fast they follow each other


class Frame(NamedTuple):
    """A picture, uint8 RGB (H, W, 3), and when it is shown, in units of its source's `time_base`."""

    picture: Array
    pts: int
    duration: int


@dataclass(frozen=True)
class Facts:
    """The facts about a source before its frames are read."""

    name: str  # for messages
    size: tuple[int, int]  # width and height of the frames as they are handed out
    rate: Fraction  # frames a second, on average
    time_base: Fraction
    colour: Colour
    count: int | None = None  # about how many frames there are, where that is known
    aspect: Fraction = Fraction(1)  # of a pixel
    is_still: bool = False  # one picture
    sound: Sound | None = None


@dataclass(frozen=True)
class Sound:
    """The other streams of a video, and the part of them that belongs to its frames.

    Timestamps, in seconds, count from where the file's own begin; `shift` is added to them in the copy.
    """

    path: Path
    start: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)


class Source(Protocol):
    """Frames in the order of time. They can be read again, unless they come through a pipe."""

    facts: Facts

    def frames(self) -> Iterator[Frame]:
        """A TruncatedError where they break off; what came before is whole."""


def positive(value: float | Fraction | str) -> Fraction | None:
    """A rate; None where it is none."""
    try:
        rate = Fraction(value).limit_denominator(100_000)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return rate if rate > 0 else None
