"""Open any source of frames with the reader that fits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from trtmatte.errors import SettingError
from trtmatte.media import pictures
from trtmatte.media.pictures import PictureSource
from trtmatte.media.raw import Raw, RawSource
from trtmatte.media.source import Source, positive
from trtmatte.media.video import VideoSource

__all__ = ["open_source"]


def open_source(
    place: Any,
    *,
    raw: str | None = None,
    rate: float | Fraction | str | None = None,
    resize: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    threads: int = 0,
) -> Source:
    """Open a video, a folder of pictures, a pattern like `shots/*.png`, a picture, or "-" for standard input.

    `rate` is the frame rate of pictures. An open source is returned as it is.
    """
    if hasattr(place, "frames"):
        return place  # type: ignore[no-any-return]
    if str(place) == "-":
        if raw is None:
            raise SettingError("standard input needs --raw WIDTHxHEIGHT@FPS: raw frames have no header")
        _refuse("standard input", resize=resize, start=start, end=end)
        return RawSource(Raw.of(raw))
    if raw is not None:
        raise SettingError(f"raw is for frames on standard input, and the input is {place}; expected -")
    found = pictures.find(place)
    if found is not None:
        _refuse("pictures", start=start, end=end)
        return PictureSource(found, rate=_rate(rate), resize=resize)
    return VideoSource(Path(place), resize=resize, start=_seconds(start), end=_seconds(end), threads=threads)


def _rate(value: float | Fraction | str | None) -> Fraction | None:
    rate = None if value is None else positive(value)
    if value is not None and rate is None:
        raise SettingError(f"rate is {value!r}; expected frames a second, such as 25 or 24000/1001")
    return rate


def _refuse(what: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise SettingError(f"{name} is given, which {what} cannot have; leave it out, or take a video")


def _seconds(value: float | None) -> Fraction | None:
    if value is None:
        return None
    if not value >= 0:
        raise SettingError(f"a time is {value!r}; expected seconds from the beginning, 0 or more")
    return Fraction(value).limit_denominator(1_000_000)
