"""A film at another frame rate: its frames, one after the other, without its sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from trtmatte.media.source import Frame, Source

__all__ = ["RetimedSource"]


class RetimedSource:
    """The frames of another source at a rate of their own: the film is then faster or slower."""

    def __init__(self, source: Source, rate: Fraction) -> None:
        self._source = source
        self.facts = replace(source.facts, rate=rate, time_base=1 / rate, sound=None, timecode="")

    def frames(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._source.frames()):
            yield Frame(frame.picture, number, 1)

    def stop(self) -> None:
        """End a source that may be silent for long."""
        getattr(self._source, "stop", lambda: None)()
