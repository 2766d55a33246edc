"""Video files as frames, decoded by FFmpeg."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from trtmatte.errors import InputError, TruncatedError
from trtmatte.media import colour, timecode
from trtmatte.media.containers import decoding, opened, problems_of
from trtmatte.media.ffmpeg import ffmpeg
from trtmatte.media.fields import field_order
from trtmatte.media.orientation import Orientation, Turn
from trtmatte.media.places import Place, is_stream
from trtmatte.media.source import MOST_RATE, RATE, Array, Facts, Frame, Sound
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["VideoSource"]

_LOG: Final = logging.getLogger("trtmatte")
_MISSING: Final = 3  # a video may have this many frames less than its header says
_RATES: Final = (Fraction(1, 1000), MOST_RATE)  # a header with another is damaged
_ASPECTS: Final = (Fraction(1, 100), Fraction(100))
_FINE: Final = 1 << 16  # the largest denominator of an aspect ratio, which is stored in 32 bits


class VideoSource:
    """The frames of the first video stream: rotated upright, 8-bit RGB, all of one size.

    `start` and `end` are seconds from the beginning of the video. Frames that begin before `end` are read. With
    `start`, timestamps count from the first frame. `threads` is the number of decoder threads; 0 lets FFmpeg choose.
    `order` is that of the channels, rgb24 or bgr24.
    """

    def __init__(
        self,
        place: Place,
        *,
        resize: tuple[int, int] | None = None,
        start: Fraction | None = None,
        end: Fraction | None = None,
        threads: int = 0,
        limits: Limits | None = None,
        order: str = "rgb24",
    ) -> None:
        self._order = order
        self._place, self._start, self._end, self._threads, self._limits = place, start, end, threads, limits
        decoded = self._decoded()
        first = next(decoded, None)
        if first is None:
            raise InputError(f"{place} has no frame {'there' if start or end else 'in it'}; expected one at least")
        self._begun: Iterator[Any] | None = itertools.chain([first], decoded)
        with problems_of(place):
            self._orientation = Orientation.of(first)
            self._coded = (first.width, first.height)
            self._size = resize or self._orientation.size(first.width, first.height)
            self._offset = 0 if start is None else int(first.pts)
            self.facts = self._facts(first)

    def frames(self) -> Iterator[Frame]:
        decoded, self._begun = self._begun or self._decoded(), None
        number, warned = 0, False
        with problems_of(self._place, lambda: number):
            convert = _Convert(self._orientation, self._size, self._order)
            for frame in decoded:
                if not warned and (frame.width, frame.height) != self._coded:
                    warned = True
                    _LOG.warning(
                        "%s changes its size to %dx%d; its frames are brought to %dx%d",
                        *(self._place, frame.width, frame.height, *self._size),
                    )
                yield Frame(convert(frame), int(frame.pts) - self._offset, int(frame.duration or 0))
                number += 1

    def _facts(self, first: Any) -> Facts:
        stream = self._stream
        rate = _plausible_rate(stream)
        aspect = _plausible(stream.sample_aspect_ratio, _ASPECTS) or Fraction(1)
        if self._orientation.transposed:
            aspect = 1 / aspect
        upright = self._orientation.size(*self._coded)
        aspect *= Fraction(upright[0] * self._size[1], upright[1] * self._size[0])
        time_base = Fraction(stream.time_base)
        begin = (stream.start_time or 0) * time_base
        shown_from = None if self._start is None else first.pts * time_base
        return Facts(
            name=str(self._place),
            size=self._size,
            rate=rate,
            time_base=time_base,
            colour=colour.of(first),
            count=self._count(rate),
            aspect=aspect.limit_denominator(_FINE),
            timecode=self._timecode(first, rate),
            fields=field_order(first) if self._has_lines_of_source else "",
            lost="; it has ".join(filter(None, (colour.lost(first), self._lost_sound()))),
            sound=self._sound(shown_from, begin),
        )

    def _lost_sound(self) -> str:
        is_lost = is_stream(self._place) and self._container.streams.audio
        return "audio, which is left out: a stream is read once, for its pictures" if is_lost else ""

    def _sound(self, shown_from: Fraction | None, begin: Fraction) -> Sound | None:
        """The audio and subtitles, which are read by themselves; None for a stream that is sent only once."""
        if is_stream(self._place):
            return None
        return Sound(
            self._place,
            start=shown_from,
            end=None if self._end is None else begin + self._end,
            shift=Fraction(0) if shown_from is None else -shown_from,
            limits=self._limits,
        )

    @property
    def _has_lines_of_source(self) -> bool:
        """The frames have the lines of the coded ones, in their order, so that fields stay fields."""
        return self._size[1] == self._coded[1] and not self._orientation.transposed and not self._orientation.down

    def _timecode(self, first: Any, rate: Fraction) -> str:
        found = timecode.timecode_of(self._container, self._stream)
        if not found or self._start is None:
            return found
        skipped = (first.pts - (self._stream.start_time or 0)) * Fraction(self._stream.time_base)
        return timecode.advanced(found, round(skipped * rate), rate)

    def _count(self, rate: Fraction) -> int | None:
        stream, container = self._stream, self._container
        seconds: Fraction
        if stream.duration is not None:
            seconds = stream.duration * Fraction(stream.time_base)
        elif container.duration is not None:
            seconds = Fraction(container.duration, 1_000_000)
        else:
            return max(0, int(stream.frames)) or None
        if self._start is None and self._end is None and stream.frames > 0:
            return int(stream.frames)
        seconds = min(seconds, self._end if self._end is not None else seconds) - (self._start or 0)
        return max(1, round(seconds * rate))

    # -----------------------------------------------------------------------------------------------------------------
    # Decoding

    def _decoded(self) -> Iterator[Any]:
        """The frames in the requested range as the decoder returns them, each with its time."""
        number = 0
        with opened(self._place, self._limits) as container, problems_of(self._place, lambda: number):
            self._container, self._stream = container, _video_of(container, self._place)
            stream = self._stream
            _require_size(self._place, stream.codec_context, self._limits)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = self._threads
            stream.codec_context.options = decoding(self._limits)
            begin, time_base = stream.start_time or 0, Fraction(stream.time_base)
            first = None if self._start is None else begin + self._start / time_base
            last = None if self._end is None else begin + self._end / time_base
            if first is not None:
                container.seek(int(first), stream=stream)
            reading = _Reading(stream)
            for frame in reading.frames(container):
                _require_size(self._place, frame, self._limits)
                if last is not None and frame.pts >= last:
                    return
                if first is None or frame.pts >= first:
                    number += 1
                    yield frame
            if last is not None and reading.reaches(last):
                return
            if first is None and (promised := reading.missing()):
                raise TruncatedError(f"{self._place} breaks off after frame {number}; its header says {promised}")
            if last is not None:
                _LOG.warning(
                    "%s ends after %.2f seconds, before %s",
                    *(self._place, float(reading.end - begin * time_base), option("end", float(self._end or 0))),
                )


class _Reading:
    """Decode a stream, and find out if it was complete."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._packets = 0
        self.end = Fraction(0)
        self._step = max(1, round(1 / (_plausible_rate(stream) * Fraction(stream.time_base))))

    def frames(self, container: Any) -> Iterator[Any]:
        last = None
        for packet in container.demux(self._stream):
            self._packets += packet.size > 0
            for frame in packet.decode():
                if frame.pts is None or (
                    last is not None and frame.pts <= last
                ):  # AVI has no times, TS may repeat them
                    frame.pts = 0 if last is None else last + self._step
                last = frame.pts
                self.end = (last + (frame.duration or self._step)) * Fraction(self._stream.time_base)
                yield frame

    def reaches(self, time: Fraction) -> bool:
        """Report if the frames go on until this time, in units of the stream."""
        return self.end / Fraction(self._stream.time_base) >= time - self._step

    def missing(self) -> str:
        """The length by the header, if the video is shorter than that; otherwise an empty text."""
        promised = self._stream.frames
        if promised > self._packets + _MISSING:
            return f"{promised} frames"
        seconds = _seconds(self._stream.metadata.get("DURATION", ""))  # Matroska
        if seconds > self.end + _MISSING * self._step * Fraction(self._stream.time_base):
            return f"{float(seconds):.2f} seconds"
        return ""


class _Convert:
    """Convert decoded frames to packed RGB or BGR."""

    def __init__(self, orientation: Orientation, size: tuple[int, int], order: str) -> None:
        self._order = order
        self._orientation = orientation
        self._lying = orientation.size(*size)
        self._sws = ffmpeg().video.reformatter.VideoReformatter()
        self._turn = Turn(orientation, *self._lying, order) if any(orientation) else None

    def __call__(self, frame: Any) -> Array:
        colour.complete(frame)
        hdr = colour.BT709 if colour.is_hdr(frame) else None
        rgb = self._sws.reformat(
            frame,
            *self._lying,
            format=self._order,
            interpolation="BICUBIC",
            dst_color_trc=hdr,
            dst_color_primaries=hdr,
        )
        if self._turn is not None:
            rgb.colorspace, rgb.color_range = colour.RGB, colour.FULL
            rgb = self._turn(rgb)
        picture: Array = rgb.to_ndarray()
        return picture


def _video_of(container: Any, place: Place) -> Any:
    streams = [each for each in container.streams.video if not _is_cover(each)]
    if not streams:
        kinds = ", ".join(dict.fromkeys(each.type for each in container.streams)) or "nothing"
        raise InputError(f"{place} has no video, but {kinds}; expected a file with pictures")
    if streams[0].codec_context is None:
        raise InputError(f"this FFmpeg has no decoder for the video in {place}; convert it to H.264, say, first")
    return streams[0]


def _is_cover(stream: Any) -> bool:
    """Report if a stream is a cover picture, not a video."""
    return bool(stream.disposition & ffmpeg().stream.Disposition.attached_pic)


def _require_size(place: Place, coded: Any, limits: Limits | None) -> None:
    if limits is not None and coded.width * coded.height > limits.pixels:
        raise InputError(f"the frames of {place} are {coded.width}x{coded.height}; expected {limits.pixels} pixels")


def _plausible_rate(stream: Any) -> Fraction:
    """The frame rate by the header, or the usual one if that cannot be."""
    return _plausible(stream.guessed_rate, _RATES) or _plausible(stream.average_rate, _RATES) or RATE


def _plausible(value: Any, between: tuple[Fraction, Fraction]) -> Fraction | None:
    return Fraction(value) if value is not None and between[0] <= value <= between[1] else None


def _seconds(text: str) -> Fraction:
    """Parse a duration in a Matroska tag, such as 00:00:02.252000000. Returns 0 if it is something else."""
    found = re.fullmatch(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d{1,12})?)", text, re.ASCII)
    return Fraction(found[1]) * 3600 + Fraction(found[2]) * 60 + Fraction(found[3]) if found else Fraction(0)
