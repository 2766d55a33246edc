"""Encode audio anew for a file that cannot store it as it is. Its times stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from trtmatte.media.ffmpeg import ffmpeg, link
from trtmatte.media.source import Sound

__all__ = ["Reencoded", "codec_of", "is_storable"]


@dataclass(frozen=True)
class _Encoder:
    title: str
    name: str
    bit_rate: int  # of a channel
    rate: int = 0  # the only one; 0 for those that FFmpeg lists


_OPUS: Final = _Encoder("Opus", "libopus", 64_000, 48_000)
_AAC: Final = _Encoder("AAC", "aac", 96_000)
_ENCODERS: Final = {"webm": _OPUS, "mp4": _AAC, "mov": _AAC}
_ONLY_MP4: Final = ("flac", "opus", "truehd")  # and not MOV
_IN_TIME: Final = "async=1:min_hard_comp=0.01"  # a shift of a hundredth of a second becomes silence, or is cut off
_USUAL_RATE: Final = 48_000
_USUAL_LAYOUT: Final = "stereo"
_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # of sources that have a number of channels alone


def is_storable(stream: Any, container: Any) -> bool:
    """Report if a file of this format may have this stream. FFmpeg itself says so late, or stores what none plays."""
    codec = codec_of(stream)
    if container.format.name == "mp4":
        return not codec.startswith("pcm_")
    return container.format.name != "mov" or codec not in _ONLY_MP4


def codec_of(stream: Any) -> str:
    """The name of the codec of a stream."""
    return "unknown" if stream.codec_context is None else str(stream.codec_context.codec.canonical_name)


class Reencoded:
    """A stream of audio that is decoded, cut to the part that is wanted, and encoded."""

    def __init__(self, stream: Any, output: Any, title: str, sound: Sound) -> None:
        self.output, self.title = output, title
        self._stream, self._sound = stream, sound
        self._filters: Any = None

    @classmethod
    def into(cls, container: Any, stream: Any, sound: Sound) -> Reencoded | None:
        """Add the stream to a file that is written. Returns None if there is no encoder for it."""
        encoder, codec = _ENCODERS.get(container.format.name), stream.codec_context
        if encoder is None or codec is None or not codec.sample_rate:
            return None
        try:
            known = ffmpeg().Codec(encoder.name, "w").audio_rates or ()
        except ffmpeg().codec.codec.UnknownCodecError:
            return None
        rate = encoder.rate or (codec.sample_rate if codec.sample_rate in known else _USUAL_RATE)
        for layout in dict.fromkeys((_layout(codec.layout), _USUAL_LAYOUT)):
            if _works(encoder.name, rate, layout):
                output = container.add_stream(encoder.name, rate=rate, layout=layout)
                output.bit_rate = encoder.bit_rate * output.layout.nb_channels
                return cls(stream, output, encoder.title, sound)
        return None

    def packets(self, packet: Any) -> Iterator[Any]:
        """The packets that are ready once this packet of the source is decoded. A damaged one is left out."""
        frames: list[Any] = []
        with suppress(ffmpeg().error.FFmpegError):
            frames = packet.decode()
        for frame in frames:
            if self._filters is None:
                self._filters = self._graph(frame)
            self._filters.push(frame)
            yield from self._encoded()

    def rest(self) -> Iterator[Any]:
        """The last packets."""
        if self._filters is not None:
            self._filters.push(None)
            yield from self._encoded()
            yield from self.output.encode(None)

    def _encoded(self) -> Iterator[Any]:
        ends = (ffmpeg().error.BlockingIOError, ffmpeg().error.EOFError)
        while True:
            try:
                frame = self._filters.pull()
            except ends:
                return
            frame.pts += round(self._sound.shift / frame.time_base)
            yield from self.output.encode(frame)

    def _graph(self, frame: Any) -> Any:
        """Filters that cut the audio to a sample, fill gaps with silence, and give it the encoder's form."""
        sound, context = self._sound, self.output.codec_context
        cut = [f"{name}={float(time):.6f}" for name, time in (("start", sound.start), ("end", sound.end)) if time]
        form = f"sample_fmts={context.format.name}:sample_rates={context.rate}:channel_layouts={context.layout.name}"
        graph = ffmpeg().filter.Graph()
        first = graph.add_abuffer(
            format=frame.format.name,
            sample_rate=frame.sample_rate,
            layout=frame.layout.name,
            time_base=frame.time_base,
        )
        steps = [("atrim", ":".join(cut))] if cut else []
        link(graph, first, *steps, ("aresample", _IN_TIME), ("aformat", form), ("abuffersink", None))
        return graph


def _layout(found: Any) -> str:
    name = str(found.name)
    return _LAYOUTS.get(found.nb_channels, name) if name.endswith(" channels") else name


def _works(encoder: str, rate: int, layout: str) -> bool:
    """Report if an encoder takes audio of this form."""
    try:
        context = ffmpeg().CodecContext.create(encoder, "w")
        context.sample_rate, context.layout, context.format = rate, layout, context.codec.audio_formats[0]
        context.time_base = Fraction(1, rate)
        context.open()
    except (ffmpeg().error.FFmpegError, ValueError):
        return False
    return True
