"""Copy the audio, subtitles and chapters of a video, without decoding what the file that is written can store."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any, Final

from trtmatte.media.containers import opened
from trtmatte.media.ffmpeg import ffmpeg
from trtmatte.media.reencoding import Reencoded, codec_of, is_storable
from trtmatte.media.source import Sound
from trtmatte.support.options import option

_LOG: Final = logging.getLogger("trtmatte")
_KINDS: Final = ("audio", "subtitle")
# Not of what is in it; the timecode is that of the frames that are written.
_OF_THE_FILE: Final = ("major_brand", "minor_version", "compatible_brands", "encoder", "timecode")


class Copies:
    """The streams to copy. Audio that the container cannot store is encoded anew; other streams are left out."""

    def __init__(self, sound: Sound, container: Any, place: str) -> None:
        self._sound = sound
        self._source = opened(sound.place, sound.limits)
        self._streams = {
            stream.index: copy
            for stream in self._source.streams
            if stream.type in _KINDS and (copy := _copy(stream, container, place, sound)) is not None
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
                if sound.end is not None and time >= sound.end:
                    continue
                output = self._streams[packet.stream.index]
                if isinstance(output, Reencoded):
                    yield from output.packets(packet)
                elif sound.start is None or time >= sound.start:
                    yield self._shifted(packet, output)
        except ffmpeg().error.FFmpegError:
            pass  # the file is damaged, which is told of its pictures
        for output in self._streams.values():
            if isinstance(output, Reencoded):
                yield from output.rest()

    def _shifted(self, packet: Any, output: Any) -> Any:
        shift = round(self._sound.shift / packet.time_base)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
        packet.stream = output
        return packet


def _copy(stream: Any, container: Any, place: str, sound: Sound) -> Any:
    """The stream of the output for a stream of the source: a copy, a `Reencoded`, or None if it is left out."""
    is_audio = stream.type == "audio"
    codec = codec_of(stream) if is_audio or stream.codec_context is None else stream.codec_context.name
    copy = made = _stored(stream, container)
    if copy is None and is_audio and (copy := Reencoded.into(container, stream, sound)) is not None:
        made = copy.output
        _LOG.warning(
            "%s gets the audio as %s, since such a file cannot store it as it is (%s); %s leaves it out",
            *(place, copy.title, codec, option("sound", False)),
        )
    if copy is None:
        what = "audio" if is_audio else "subtitles"
        _LOG.warning("%s is written without the %s (%s), which such a file cannot store; .mkv can", place, what, codec)
        return None
    made.metadata.update(stream.metadata)
    made.disposition = stream.disposition
    return copy


def _stored(stream: Any, container: Any) -> Any:
    """A stream of the output that takes the packets as they are; None if there can be none."""
    if not is_storable(stream, container):
        return None
    try:
        return container.add_stream_from_template(stream)
    except (ValueError, ffmpeg().error.FFmpegError):
        return None
