"""The frames of a film, each with its plate and its background."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Final

from trtmatte.api import Engine
from trtmatte.apps.conversion import VideoInput
from trtmatte.errors import SettingError
from trtmatte.format.stages import PLATE
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.opening import open_source
from trtmatte.media.padding import PATCH, multiple_of, pad_to
from trtmatte.media.plates import fitted
from trtmatte.media.source import Array, Source
from trtmatte.support.options import option

__all__ = ["FilmFrames", "background_of"]

_LOG: Final = logging.getLogger("trtmatte")
_GREEN: Final = "greenscreen"  # the background where none is given, as in RVM's script


class FilmFrames:
    """The frames of a source and their plates, padded to whole patches if the engine needs them. Another thread reads
    them."""

    def __init__(self, source: Source, engine: Engine, video: VideoInput) -> None:
        self._source, self._limit = source, video.frames
        self._plates = _plates(engine, video, source)
        self._align = _aligner(video.alignment)
        self.size = source.facts.size
        self.padded_size = multiple_of(PATCH, self.size) if engine.program.capacity else self.size
        self._frame: Any = None
        self.times: deque[tuple[int, int]] = deque()
        self.stopping = threading.Event()
        self.whole = False

    def stop(self) -> None:
        """End the frames. A source that may be silent for long is told as well."""
        self.stopping.set()
        getattr(self._source, "stop", lambda: None)()

    def frames(self) -> Iterator[Array]:
        step = max(1, round(1 / (self._source.facts.rate * self._source.facts.time_base)))
        for number, frame in enumerate(self._source.frames()):
            if self.stopping.is_set() or number == self._limit:
                return
            self._frame = frame.picture
            self.times.append((frame.pts, frame.duration or step))
            yield pad_to(frame.picture, self.padded_size)
        self.whole = True

    def plates(self) -> Iterator[Array] | None:
        """The plates of the frames; None for an engine without plates. Take each plate after its frame."""
        return None if self._plates is None else map(self._placed, self._plates)

    def _placed(self, plate: Array) -> Array:
        return pad_to(self._align(plate, self._frame) if self._align else plate, self.padded_size)


def _plates(engine: Engine, video: VideoInput, source: Source) -> Iterator[Array] | None:
    """The plates of a picture or a video. The last one is repeated."""
    family = engine.program.family
    if PLATE not in engine.program.pictures:
        if video.plate is not None:
            raise SettingError(f"{family} needs no plate; leave it out (background is what is put behind the subject)")
        return None
    if video.plate is None:
        raise SettingError(
            f"{family} needs the plate, the photographed empty scene, as a picture or a video: {option('plate')}"
        )
    plates = open_source(video.plate, threads=video.threads, limits=video.limits)
    return _fitted(map(itemgetter(0), plates.frames()), source.facts.size)


def _fitted(plates: Iterator[Array], size: tuple[int, int]) -> Iterator[Array]:
    """The plates in the size of the frames. A message tells once that they are scaled."""
    first = fitted(next(plates), size, "film", _LOG.warning)
    rest = (fitted(plate, size, "film", lambda _: None) for plate in plates)
    return _lasting(chain([first], rest))


def _lasting(plates: Iterator[Array]) -> Iterator[Array]:
    for plate in plates:
        yield plate
    while True:
        yield plate


def _aligner(choice: bool | str) -> Any:
    if not choice:
        return None
    from trtmatte.media.alignment import Aligner

    return Aligner(once=choice == "once")


def background_of(
    background: Any, size: tuple[int, int], video: VideoInput, used: bool
) -> tuple[Any, Iterator[Array | None] | None]:
    """Return the background of the session, and the backgrounds of single frames."""
    if not used:
        if background is not None:
            raise SettingError(f"a background is given, but no output shows it: {option('kinds', 'composite')}")
        return None, None
    each = FrameBackground(_GREEN if background is None else background, video.threads, video.limits)
    return each.once(size), (each.behind(size) for _ in repeat(None)) if each.is_film else None
