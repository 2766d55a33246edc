"""Write videos and sequences of pictures. Files have temporary names until they are complete."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

from trtmatte.errors import EngineError, OutputError, TrtmatteError
from trtmatte.media import colour
from trtmatte.media.colour import Colour
from trtmatte.media.copying import Copies
from trtmatte.media.ffmpeg import ffmpeg, open_container, reason
from trtmatte.media.fields import FieldMarker, mark_encoder
from trtmatte.media.formats import Encoding
from trtmatte.media.padding import multiple_of, pad_to
from trtmatte.media.source import Array, Facts, Sound
from trtmatte.support.files import replacing

__all__ = ["PictureSink", "Sink", "VideoSink", "numbered"]

_LOG: Final = logging.getLogger("trtmatte")
_FORMATS: Final = {1: "gray", 3: "rgb24", 4: "rgba"}
_SWS: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # swscale's names of matrices
_BUFFER: Final = 1 << 20
_TIMELESS: Final = 2  # frames: x265 gives films that are as short no decoding times, but what the memory held


class Sink(Protocol):
    """The destination of one output: pictures of uint8 (H, W, C), 1, 3 or 4 channels. Raises OutputErrors."""

    place: str

    def write(self, picture: Array, pts: int, duration: int) -> None:
        """Write a picture. The array may be changed afterwards."""

    def close(self, *, whole: bool = True) -> None:
        """Complete the file and give it its name. `whole` is False if the source was not read to its end."""

    def abort(self) -> None:
        """Remove the incomplete file."""


class VideoSink:
    """A video file, with the audio and subtitles of the source."""

    def __init__(
        self, place: Path, encoding: Encoding, facts: Facts, *, with_sound: bool = True, threads: int = 0
    ) -> None:
        self.place = str(place)
        self._path, self._encoding, self._facts = place, encoding, facts
        self._marked = self._marker()
        self._sws: Any = ffmpeg().video.reformatter.VideoReformatter()
        self._end, self._count = Fraction(0), 0
        self._copies: Copies | None = None
        self._container: Any = None
        self._file = ExitStack()  # in which it has another name
        try:
            with _told(self.place):
                self._open(facts.sound if with_sound else None, threads)
        except BaseException:
            self.abort()
            raise

    def write(self, picture: Array, pts: int, duration: int) -> None:
        with _told(self.place):
            frame = self._converted(picture)
            frame.pts, frame.duration, frame.time_base = pts, duration, self._facts.time_base
            self._end = (pts + duration) * self._facts.time_base
            self._count += 1
            self._mux(frame)
            if self._copies is not None:
                self._container.mux(self._copies.until(pts * self._facts.time_base))

    def close(self, *, whole: bool = True) -> None:
        with _told(self.place):
            self._mux(None)
            if self._copies is not None:
                self._container.mux(self._copies.until(None if whole else self._end))
                self._copies.close()
            self._container.close()
            self._file.close()

    def abort(self) -> None:
        for each in (self._copies, self._container):
            with suppress(Exception):  # the earlier error may occur again
                if each is not None:
                    each.close()
        with suppress(_Aborted, EngineError, OSError), self._file:  # which could not be flushed either
            raise _Aborted

    def _open(self, sound: Sound | None, threads: int) -> None:
        encoding = self._encoding
        file = self._file.enter_context(replacing(self._path))
        self._container = open_container(
            file,
            "w",
            format=encoding.container,
            buffer_size=_BUFFER,
            container_options=_container(encoding),
        )
        self._stream = self._video(threads)
        if sound is not None:
            self._copies = Copies(sound, self._container, self.place)
        self._container.start_encoding()

    def _video(self, threads: int) -> Any:
        encoding, facts = self._encoding, self._facts
        stream = self._container.add_stream(encoding.codec.encoder, rate=facts.rate, options=dict(encoding.options))
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = encoding.pixels
        context.time_base = facts.time_base
        context.bit_rate = encoding.bit_rate
        context.thread_count = threads
        context.thread_type = "AUTO"
        context.sample_aspect_ratio = facts.aspect
        facts.colour.tag(context)
        if self._marked is not None:
            mark_encoder(context, facts.fields)
        if facts.timecode:
            stream.metadata["timecode"] = facts.timecode
        if encoding.codec.tag and encoding.container in ("mp4", "mov"):
            context.codec_tag = encoding.codec.tag
        if encoding.has_alpha and encoding.container in ("webm", "matroska"):
            stream.metadata["alpha_mode"] = "1"
        try:
            context.open()
        except ffmpeg().error.FFmpegError as error:
            raise OutputError(
                f"{self.place} cannot be written: FFmpeg's encoder {encoding.codec.encoder} does not work here "
                f"for frames of {context.width}x{context.height} ({reason(error)}); choose another codec or size"
            ) from error
        return stream

    @property
    def _size(self) -> tuple[int, int]:
        width, height = self._facts.size
        return multiple_of(2, (width, height)) if self._encoding.even else (width, height)

    def _converted(self, picture: Array) -> Any:
        frame = _to_yuv(self._sws, pad_to(picture, self._size), self._encoding.pixels, self._facts.colour)
        if self._marked is not None:
            frame = self._marked(frame)
        self._facts.colour.tag_frame(frame)
        return frame

    def _marker(self) -> FieldMarker | None:
        """Mark frames as interlaced if those of the source are and the encoder takes them."""
        if not self._facts.fields:
            return None
        lines = self._encoding.codec.fields
        if not lines or self._size[1] % lines:
            _LOG.warning(
                "%s is not marked as interlaced, as its source is: %s cannot store such frames of %d lines",
                *(self.place, self._encoding.codec.encoder, self._size[1]),
            )
            return None
        return FieldMarker(self._facts.fields)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            if frame is None and self._count <= _TIMELESS:
                packet.dts = packet.pts
            self._container.mux(packet)


class _Aborted(Exception):  # noqa: N818
    """Raised to leave the context of a file that must not be kept."""


class PictureSink:
    """A folder of PNG files, 0000.png, 0001.png…. Each file appears when it is complete."""

    def __init__(self, place: Path, facts: Facts, *, channels: int, threads: int = 0) -> None:
        self.place = str(place)
        self._folder, self._count, self._made = place, 0, False
        with _told(self.place):
            self._context: Any = ffmpeg().codec.CodecContext.create("png", "w")
            self._context.width, self._context.height = facts.size
            self._context.pix_fmt = _FORMATS[channels]
            self._context.time_base = facts.time_base
            self._context.thread_count = threads
            self._context.thread_type = "FRAME"
            self._context.options = {"pred": "up", "compression_level": "3"}
            self._made = not place.exists()
            place.mkdir(exist_ok=True)
            if not os.access(place, os.W_OK):
                raise OSError(f"{place} is write-protected")
            _remove_remains(place)

    def write(self, picture: Array, pts: int, duration: int) -> None:
        # Copied into FFmpeg's own memory, since the encoder works on several frames at once. Its threads must not need
        # the interpreter's lock while the interpreter waits for them.
        with _told(self.place):
            frame = ffmpeg().VideoFrame.from_ndarray(*_plain(picture))
            frame.pts = pts
            self._save(frame)

    def close(self, *, whole: bool = True) -> None:
        with _told(self.place):
            self._save(None)
            if more := sorted(number for number in numbered(self._folder) if number >= self._count):
                _LOG.warning(
                    "%s has pictures that were there before, from %04d.png to %04d.png; remove them if they do not "
                    "belong to the new ones",
                    *(self.place, more[0], more[-1]),
                )

    def abort(self) -> None:
        """Keep the pictures that are written: each is complete."""
        if self._made:
            with suppress(OSError):
                self._folder.rmdir()  # if it is empty

    def _save(self, frame: Any) -> None:
        for packet in self._context.encode(frame):
            _replace(self._folder / f"{self._count:04}.png", packet)
            self._count += 1


def _replace(path: Path, data: Any) -> None:
    """Write a file under a new name, then give it its own. It gets the permissions of the file that it replaces.

    Unlike `replacing`, this does not wait for the disk, which would take longer than the picture.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with part.open("xb") as file:  # which follows no link
        try:
            if os.path.isfile(path):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.write(data)
            file.flush()
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def _remove_remains(folder: Path) -> None:
    """Remove the unfinished pictures of killed processes."""
    for name in os.listdir(folder):
        if re.fullmatch(r"\.\d{4,}\.png\.[0-9a-f]{8}\.part", name, re.ASCII):
            with suppress(OSError):
                os.unlink(folder / name)


def numbered(folder: Path) -> dict[int, Path]:
    """The pictures 0000.png, 0001.png… of a folder, by number. Without a folder there are none."""
    with _told(str(folder)):
        names = os.listdir(folder) if os.path.isdir(folder) else []
    found = (re.fullmatch(r"(\d{4}|[1-9]\d{4,})\.png", name, re.ASCII) for name in names)
    return {int(each[1]): folder / each[0] for each in found if each is not None}


@contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise OutputError(str(error)) from error
    except TrtmatteError:
        raise
    except Exception as error:  # of PyAV, which raises errors of many kinds
        raise OutputError(f"{place} cannot be written: {reason(error)}") from error


def _frame(picture: Array) -> Any:
    """Make a frame that shares the memory of the picture."""
    return ffmpeg().VideoFrame.from_numpy_buffer(*_plain(picture))


def _plain(picture: Array) -> tuple[Array, str]:
    """The picture in a pixel format of FFmpeg, and the name of that format."""
    channels = picture.shape[2]
    return (picture[..., 0] if channels == 1 else picture), _FORMATS[channels]


def _to_yuv(sws: Any, picture: Array, pixels: str, tags: Colour) -> Any:
    frame = sws.reformat(
        _frame(picture),
        format=pixels,
        src_color_range=colour.FULL,
        dst_color_range=colour.LIMITED,
        dst_colorspace=_SWS[tags.matrix],
    )
    return frame


def _container(encoding: Encoding) -> dict[str, str]:
    """The options that make a container store the colour tags."""
    return {"movflags": "+write_colr"} if encoding.container in ("mp4", "mov") else {}
