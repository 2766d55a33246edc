"""Copy the audio, subtitles and chapters of a video without decoding them."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any, Final

from trtmatte.media.containers import opened
from trtmatte.media.ffmpeg import ffmpeg
from trtmatte.media.source import Sound

_LOG: Final = logging.getLogger("trtmatte")
_KINDS: Final = ("audio", "subtitle")
_OF_THE_FILE: Final = ("major_brand", "minor_version", "compatible_brands", "encoder")  # not of what is in it


class Copies:
    """The streams to copy. A stream that the container cannot store is left out with a message."""

    def __init__(self, sound: Sound, container: Any, place: str) -> None:
        self._sound = sound
        self._source = opened(sound.place, sound.limits)
        self._streams = {
            stream.index: copy
            for stream in self._source.streams
            if stream.type in _KINDS and (copy := _copy(stream, container, place)) is not None
        }
        container.metadata.update({k: v for k, v in self._source.metadata.items() if k.lower() not in _OF_THE_FILE})
        if sound.start is None:
            container.set_chapters(self._source.chapters())
        self._packets = self._wanted()
        self._held: Any = None

    def until(self, time: Fraction | None) -> Iterator[Any]:
        """The packets that begin before this time of the output, in seconds; without a time, all remaining packets."""
        while self._held is not None or self._next():
            packet = self._held
            if time is not None and packet.dts * packet.time_base >= time:
                return
            self._held = None
            yield packet

    def close(self) -> None:
        self._packets.close()
        self._source.close()

    def _next(self) -> bool:
        self._held = next(self._packets, None)
        return self._held is not None

    def _wanted(self) -> Generator[Any, None, None]:
        sound = self._sound
        streams = [stream for stream in self._source.streams if stream.index in self._streams]
        if not streams:
            return
        if sound.start is not None:
            self._source.seek(int(sound.start * 1_000_000))
        try:
            for packet in self._source.demux(*streams):
                if packet.dts is None:  # what ends a stream
                    continue
                time = (packet.dts if packet.pts is None else packet.pts) * Fraction(packet.time_base)
                if (sound.start is None or time >= sound.start) and (sound.end is None or time < sound.end):
                    yield self._shifted(packet)
        except ffmpeg().error.FFmpegError:
            return  # the file is damaged, which is told of its pictures

    def _shifted(self, packet: Any) -> Any:
        shift = round(self._sound.shift / packet.time_base)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
        packet.stream = self._streams[packet.stream.index]
        return packet


def _copy(stream: Any, container: Any, place: str) -> Any:
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    try:
        copy = container.add_stream_from_template(stream)
    except (ValueError, ffmpeg().error.FFmpegError):
        what = "audio" if stream.type == "audio" else "subtitles"
        _LOG.warning("%s is written without the %s (%s), which such a file cannot store; .mkv can", place, what, codec)
        return None
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy
