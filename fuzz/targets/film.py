"""Videos of strangers: MP4, Matroska, WebM, AVI and MPEG files with sound, chapters and metadata."""

from __future__ import annotations

import io
import itertools
import logging
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Final

import av
import numpy as np

from trtmatte.errors import InputError, TrtmatteError
from trtmatte.media.copying import Copies
from trtmatte.media.ffmpeg import open_container
from trtmatte.media.opening import open_source
from trtmatte.support.limits import Limits

__all__ = ["attack", "mutate", "seeds"]

_LIMITS: Final = Limits(pixels=1 << 18, file_bytes=1 << 20)
_FRAMES: Final = 6
_SIZE: Final = (32, 24)
_RATE: Final = 25
_PLACE: Final = Path(tempfile.gettempdir(), f"trtmatte-fuzz-{os.getpid()}.mp4")
_TITLE: Final = "the title of a film, long enough for damage"
_LANGUAGE: Final = "dan"

logging.getLogger("trtmatte").setLevel(logging.ERROR)  # streams that cannot be copied are told otherwise


def seeds() -> list[bytes]:
    return [
        _film("mp4", "mpeg4"),
        _film("mp4", "libx264"),
        _film("mov", "prores_ks", pixels="yuv422p10le"),
        _film("matroska", "libx264"),
        _film("matroska", "ffv1", pixels="yuv444p"),
        _film("webm", "libvpx-vp9", sound="libopus"),
        _film("avi", "mpeg4", sound="mp3"),
        _film("mpegts", "mpeg2video", sound="mp2"),
        _film("mpeg", "mpeg1video", sound="mp2"),
        _film("h264", "libx264", sound=""),
        _film("gif", "gif", pixels="rgb8", sound=""),
        b"ffconcat version 1.0\nfile 'a.mp4'\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n#EXT-X-ENDLIST\n",
    ]


def mutate(data: bytes, random: Random) -> bytes:
    """Put other bytes into the metadata, or into the headers, which are at one of the ends."""
    found = data.find(_TITLE.encode())
    if found >= 0 and random.random() < 0.2:
        new = bytes(random.choice(b"\0\n\x1b\x80\xe9\xff%;=") for _ in range(len(_TITLE)))
        return data[:found] + new + data[found + len(_TITLE) :]
    near = min(len(data), 1000)
    place = random.randrange(near) if random.random() < 0.5 else len(data) - 1 - random.randrange(near)
    return data[:place] + random.randbytes(random.choice((1, 1, 2, 4))) + data[place + 1 :]


def attack(data: bytes) -> bool:
    _PLACE.write_bytes(data)
    try:
        source = open_source(_PLACE, threads=1, limits=_LIMITS)
        size = source.facts.size
        for frame in itertools.islice(source.frames(), _FRAMES):
            assert frame.picture.dtype == np.uint8, frame.picture.dtype
            assert frame.picture.shape == (size[1], size[0], 3), frame.picture.shape
        _copy(source.facts.sound)
    except TrtmatteError:
        return False
    finally:
        _PLACE.unlink()
    return True


def _copy(sound: Any) -> None:
    """Copy sound and metadata to a Matroska file in memory."""
    with open_container(io.BytesIO(), "w", format="matroska") as file:
        copies = Copies(sound, file, "memory")
        try:
            if file.streams:
                file.start_encoding()
                file.mux(itertools.islice(copies.until(None), 50))
        except (av.error.FFmpegError, ValueError) as error:  # a writer makes it an OutputError
            raise InputError(str(error)) from error
        finally:
            copies.close()


def _film(container: str, codec: str, *, pixels: str = "yuv420p", sound: str = "aac") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options={"fflags": "+bitexact"}) as out:
        out.metadata["title"] = _TITLE
        video: Any = out.add_stream(codec, rate=_RATE)
        video.width, video.height, video.pix_fmt = *_SIZE, pixels
        video.codec_context.thread_count = 1
        audio: Any = out.add_stream(sound, rate=48000) if sound else None
        if container in ("mp4", "mov", "matroska"):
            audio.metadata["language"] = _LANGUAGE
            chapter: Any = {"id": 1, "start": 0, "end": 40, "time_base": Fraction(1, 1000), "metadata": {"title": "a"}}
            out.set_chapters([chapter])
        for number in range(4):
            picture = np.full((_SIZE[1], _SIZE[0], 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None:
            samples = audio.codec_context.frame_size or 1024
            for number in range(3):
                silence = av.AudioFrame.from_ndarray(np.zeros((2, samples), np.float32), format="fltp", layout="stereo")
                silence.sample_rate, silence.pts = 48000, number * samples
                out.mux(audio.encode(silence))
            out.mux(audio.encode())
    return file.getvalue()
