"""Backgrounds as users write them: a colour, blur, a picture or a video."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trtmatte.errors import InputError, SettingError
from trtmatte.media.opening import open_source
from trtmatte.media.source import Array, Source
from trtmatte.support.limits import Limits
from trtmatte.support.options import option


class FrameBackground:
    """The background of every frame. Pictures are scaled to fill the frame, then cropped; a video is looped."""

    def __init__(self, given: Any, threads: int = 0, limits: Limits | None = None) -> None:
        self.fixed: Any = None  # a colour or blur: the same for frames of all sizes
        self._picture: Array | None = None
        self._film: Iterator[Array] | None = None
        if isinstance(given, str) and given.count(",") in (2, 3):
            self.fixed = _colour(given)
        elif not isinstance(given, (str, Path)) or not os.path.exists(given):
            self.fixed = given
        elif (source := open_source(Path(given), threads=threads, limits=limits)).facts.is_still:
            self._picture = next(iter(source.frames())).picture
        else:
            self._film = _looped(source)

    @classmethod
    def of_picture(cls, picture: Array) -> FrameBackground:
        """The background that shows this picture, uint8 RGB (H, W, 3)."""
        background = cls(None)
        background._picture = picture
        return background

    @property
    def is_film(self) -> bool:
        return self._film is not None

    def once(self, size: tuple[int, int]) -> Any:
        """The background for a session with frames of this size; None for a video."""
        return self.fixed if self._picture is None else self.behind(size)

    def at(self, size: tuple[int, int]) -> Any:
        """The background of the next frame, which has this size, for a session that has none."""
        return self.fixed if self.fixed is not None else self.behind(size)

    def behind(self, size: tuple[int, int]) -> Array | None:
        """The background of the next frame, which has this size; None if the session already has the background."""
        picture = self._picture if self._film is None else next(self._film)
        return None if picture is None else _cropped(picture, size)


def _colour(text: str) -> tuple[float, ...]:
    """Read three numbers, or four of which the last says that the colour is opaque."""
    try:
        *colour, last = (int(part) if part.strip().isdigit() else float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"{option('background')} is {text!r}; expected three numbers, such as 120,255,155") from None
    if len(colour) < len("rgb"):
        return (*colour, last)
    if last != (255 if isinstance(last, int) else 1):
        raise SettingError(
            f"{option('background')} is {text!r}, which is not opaque; for cut-outs with alpha, the output is rgba"
        )
    return tuple(colour)


def _looped(source: Source) -> Iterator[Array]:
    count = 0
    while True:
        before = count
        for frame in source.frames():
            count += 1
            yield frame.picture
        if count == before:
            raise InputError(f"the background {source.facts.name} has no frames any more")


def _cropped(picture: Array, size: tuple[int, int]) -> Array:
    """The centre of a picture, cropped to the aspect ratio of the frame. The session scales it."""
    height, width = picture.shape[:2]
    wide = max(1, min(width, round(height * size[0] / size[1])))
    high = max(1, min(height, round(width * size[1] / size[0])))
    left, top = (width - wide) // 2, (height - high) // 2
    return picture[top : top + high, left : left + wide]
