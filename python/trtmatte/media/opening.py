"""Open any source of frames with the reader that fits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import SettingError
from trtmatte.media import pictures
from trtmatte.media.pictures import PictureSource
from trtmatte.media.places import place_of
from trtmatte.media.raw import Raw, RawSource
from trtmatte.media.retimed import RetimedSource
from trtmatte.media.source import MOST_RATE, Source, rate_of, size_of
from trtmatte.media.video import VideoSource
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["open_source"]

_MOST_SECONDS: Final = 10_000_000  # four months
_MOST_THREADS: Final = 256


def open_source(
    place: Any,
    *,
    raw: str | None = None,
    rate: float | Fraction | str | None = None,
    resize: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    threads: int = 0,
    limits: Limits | None = None,
) -> Source:
    """Open a video, a folder of pictures, a pattern like `shots/*.png`, a picture, or "-" for standard input.

    A text with :// is the address of a video. `rate` is the frame rate of pictures, or another one for a film, which
    then has no sound. `limits` are for files of strangers: they exclude addresses as well. An open source is returned
    as it is.
    """
    if hasattr(place, "frames"):
        return place  # type: ignore[no-any-return]
    resize = None if resize is None else size_of("input_resize", resize)
    if str(place) == "-":
        if raw is None:
            raise SettingError(f"standard input needs {option('raw', 'WIDTHxHEIGHT@FPS')}: raw frames have no header")
        _refuse("standard input", input_resize=resize, start=start, end=end)
        return RawSource(Raw.of(raw))
    if raw is not None:
        raise SettingError(f"{option('raw')} is for frames on standard input, and the input is {place}; expected -")
    found = place_of(place)
    shown = pictures.find(found) if isinstance(found, Path) else None
    if shown is not None:
        _refuse("pictures", start=start, end=end)
        return PictureSource(shown, rate=_rate(rate), resize=resize, limits=limits)
    if not 0 <= threads <= _MOST_THREADS:
        raise SettingError(f"{option('num_workers')} is {threads}; expected 0…{_MOST_THREADS}")
    film = VideoSource(found, resize=resize, start=_seconds(start), end=_seconds(end), threads=threads, limits=limits)
    chosen = _rate(rate)
    return film if chosen is None else RetimedSource(film, chosen)


def _rate(value: float | Fraction | str | None) -> Fraction | None:
    rate = None if value is None else rate_of(value)
    if value is not None and rate is None:
        raise SettingError(
            f"{option('rate')} is {value!r}; expected frames a second, such as 25 or 24000/1001, and at most "
            f"{MOST_RATE}"
        )
    return rate


def _refuse(what: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise SettingError(f"{option(name)} is given, which {what} cannot have; leave it out, or take a video")


def _seconds(value: float | None) -> Fraction | None:
    if value is None:
        return None
    if not 0 <= value <= _MOST_SECONDS:
        raise SettingError(f"a time is {value!r}; expected seconds from the beginning, 0…{_MOST_SECONDS}")
    return Fraction(value).limit_denominator(1_000_000)
