"""A conversion of a video: what is read, what is written, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import SettingError
from trtmatte.media.naming import beside
from trtmatte.media.opening import open_source
from trtmatte.media.source import Source
from trtmatte.media.targets import Target, targets
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["WAITING", "Interrupted", "Summary", "VideoInput", "VideoOutput"]

WAITING: Final = 2
"""Mattes that may wait for a writer, at least."""


@dataclass(frozen=True)
class VideoInput:
    """The frames of a video, and the plate that belongs to them. `convert_video` explains the fields."""

    source: Any
    resize: tuple[int, int] | None = None
    raw: str | None = None
    rate: float | Fraction | str | None = None
    start: float | None = None
    end: float | None = None
    frames: int | None = None
    plate: str | Path | None = None
    alignment: bool | str = False
    threads: int = 0
    limits: Limits | None = None
    """For files of strangers."""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise SettingError(
                f"{option('frames')} is {self.frames}; expected the largest number of frames to matte, 1 or more"
            )
        if self.alignment not in (None, False, True, "frame", "once"):
            raise SettingError(
                f"{option('preprocess_alignment')} is {self.alignment!r}; expected True, 'frame' or 'once'"
            )
        if self.alignment and self.plate is None:
            raise SettingError(f"{option('preprocess_alignment')} aligns a plate, and none is given")

    def open(self) -> Source:
        return open_source(
            self.source,
            raw=self.raw,
            rate=self.rate,
            resize=self.resize,
            start=self.start,
            end=self.end,
            threads=self.threads,
            limits=self.limits,
        )

    def expected(self, count: int | None) -> int | None:
        """The number of frames to matte, if it is known."""
        if count is None or self.frames is None:
            return count if self.frames is None else self.frames
        return min(count, self.frames)


@dataclass(frozen=True)
class VideoOutput:
    """The files to write, and their form. `convert_video` explains the fields."""

    place: str | Path | None = None
    kinds: Sequence[str] = ()
    places: Mapping[str, str | Path | None] = field(default_factory=dict)
    """Files or folders by kind."""
    type: str | None = None
    codec: str | None = None
    mbps: float | None = None
    crf: int | None = None
    preset: str | None = None
    background: Any = None
    sound: bool = True
    overwrite: bool = False
    waiting: int = WAITING
    """The number of mattes that may wait for each writer."""

    def beside(self, source: Any) -> VideoOutput:
        """This output, beside the source if it has no place."""
        if self.place is not None or any(place is not None for place in self.places.values()):
            return self
        place, kind = beside(
            source, self.kinds, output_type=self.type, codec=self.codec, has_background=self.background is not None
        )
        return replace(self, place=place, kinds=self.kinds or (kind,))

    def targets(self) -> list[Target]:
        return targets(
            self.place,
            list(self.kinds),
            dict(self.places),
            output_type=self.type,
            has_background=self.background is not None,
            codec=self.codec,
            mbps=self.mbps,
            crf=self.crf,
            preset=self.preset,
        )


@dataclass(frozen=True)
class Summary:
    """The result of a conversion."""

    frames: int
    seconds: float
    outputs: tuple[str, ...]
    backend: str = ""  # that ran the networks

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        where = f" on {self.backend}" if self.backend else ""
        frames = "frame" if self.frames == 1 else "frames"
        return f"{self.frames} {frames} at {self.fps:.1f} a second{where}: {', '.join(self.outputs)}"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed. The frames before that are written, and the files are complete."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(
            f"stopped after {summary}" if summary.frames else "stopped before the first frame; nothing is left"
        )
        self.summary = summary
