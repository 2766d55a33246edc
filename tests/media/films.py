"""Videos made for tests: with sound, subtitles, turned, of all colours and rates."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtmatte.media.formats import encoding
from trtmatte.media.writing import VideoSink

av = pytest.importorskip("av")

NTSC = Fraction(24000, 1001)
WIDTH, HEIGHT = 64, 48


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Smooth, so that codecs hardly change it, and another one each time."""
    x, y = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 200, height))
    planes = [(x + 5 * number) % 256, (y + 20) % 256, np.full_like(x, 40 + 3 * number % 200)]
    return np.stack([np.minimum(plane, 235) for plane in planes], -1).astype(np.uint8)


def film(
    path: Path,
    pictures: Any = 12,
    *,
    rate: Fraction = NTSC,
    times: list[int] | None = None,  # in units of the time base, one frame each unless they are told
    time_base: Fraction | None = None,
    start: int = 0,  # frames
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str = "",
    subtitles: bool = False,
    rotation: float = 0,
    flips: tuple[bool, bool] = (False, False),
    tags: tuple[int, int, int, int] | None = None,  # matrix, primaries, transfer, range
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    prepare: Callable[[Any], object] | None = None,  # of the file, before anything is written
) -> Path:
    """`pictures` are arrays, frames of FFmpeg, or how many are made."""
    shots = [picture(number) for number in range(pictures)] if isinstance(pictures, int) else list(pictures)
    first = shots[0]
    width, height = (first.width, first.height) if hasattr(first, "planes") else (first.shape[1], first.shape[0])
    with av.open(str(path), "w", options=container or {}) as file:
        video = file.add_stream(codec, rate=rate, options=options if options is not None else {"crf": "8"})
        context = video.codec_context
        context.width, context.height, context.pix_fmt = width, height, pixels
        context.time_base = time_base or 1 / rate
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if tags is not None:
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        if rotation or any(flips):
            video.set_display_rotation(rotation, *flips)
        audio = file.add_stream(sound, rate=48000) if sound else None
        lines = av.open(str(written(path.with_suffix(".srt")))) if subtitles else None
        text = lines and file.add_stream_from_template(lines.streams.subtitles[0])
        if prepare is not None:
            prepare(file)
        for number, shot in enumerate(shots):
            frame = shot if hasattr(shot, "planes") else av.VideoFrame.from_ndarray(shot, "rgb24")
            frame.pts = start + number if times is None else times[number]
            frame.time_base = context.time_base
            file.mux(video.encode(frame))
        file.mux(video.encode())
        if audio is not None:
            file.mux(tones(audio, Fraction(start, 1) / rate, len(shots) / rate))
        if lines is not None:
            for packet in lines.demux():
                if packet.dts is not None:
                    packet.stream = text
                    file.mux(packet)
            lines.close()
    return path


def tones(audio: Any, begin: Fraction, seconds: Fraction) -> Any:
    """Packets of sound that differ from each other."""
    size = audio.codec_context.frame_size or 1024
    for number in range(int(seconds * 48000 / size)):
        wave = np.sin(np.arange(size) * (0.01 + number / 500)) * 0.3
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None].repeat(2, 0), "fltp", "stereo")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = int(begin * 48000) + number * size
        yield from audio.encode(frame)
    yield from audio.encode()


def written(path: Path) -> Path:
    """Three lines of subtitles, a tenth of a second each."""
    times = [f"00:00:00,{n}00 --> 00:00:00,{n + 1}00" for n in range(3)]
    path.write_text("\n".join(f"{n + 1}\n{time}\nline {n}\n" for n, time in enumerate(times)))
    return path


def through(source: Any, path: Path, *, whole: bool = True, limit: int = 1000, **options: Any) -> Facts:
    """The film of a source's frames, as it is written."""
    sink = VideoSink(path, encoding(path, **options), source.facts)
    for frame, _ in zip(source.frames(), range(limit), strict=False):
        picture = np.dstack([frame.picture, frame.picture[..., :1]]) if options.get("alpha") else frame.picture
        sink.write(picture, frame.pts, frame.duration)
    sink.close(whole=whole)
    return facts(path)


def facts(path: Path) -> Any:
    """What a player sees: the video's frames and times, and the packets of all else."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        found = Facts()
        found.codec, found.pixels = video.codec_context.name, video.codec_context.pix_fmt
        context = video.codec_context
        found.tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        found.size, found.time_base, found.rate = (context.width, context.height), video.time_base, video.guessed_rate
        found.aspect, found.tag, found.metadata = video.sample_aspect_ratio, video.codec_tag, dict(video.metadata)
        for packet in file.demux():
            if packet.dts is None and not packet.size:
                pass
            elif packet.stream.type != "video":
                time = packet.pts * Fraction(packet.time_base)
                found.others.setdefault(packet.stream.type, []).append((time, bytes(packet)))
            if packet.stream is video:
                for frame in packet.decode():
                    found.times.append(frame.pts * Fraction(video.time_base))
                    found.frames.append(frame)
    return found


class Facts:
    codec: str
    pixels: str
    tags: tuple[int, int, int, int]
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    tag: str
    metadata: dict[str, str]

    def __init__(self) -> None:
        self.times: list[Fraction] = []
        self.frames: list[Any] = []
        self.others: dict[str, list[tuple[Fraction, bytes]]] = {}

    def rgb(self) -> list[np.ndarray]:
        return [frame.to_ndarray(format="rgb24") for frame in self.frames]

    def grey(self) -> list[np.ndarray]:
        return [frame.to_ndarray(format="gray") for frame in self.frames]


def yuv(rgb: tuple[int, int, int], matrix: int, *, full: bool, bits: int) -> list[int]:
    """A colour's Y, U and V by the book (ITU-R BT.601, BT.709, BT.2020)."""
    red, blue = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    r, g, b = (value / 255 for value in rgb)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    if full:
        top = (1 << bits) - 1
        return [round(y * top), round(u * top) + (1 << bits - 1), round(v * top) + (1 << bits - 1)]
    unit = 1 << (bits - 8)
    return [round((16 + 219 * y) * unit), round((128 + 224 * u) * unit), round((128 + 224 * v) * unit)]


def plain(values: list[int], pixels: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Any:
    """A frame of one colour, its planes filled with these values."""
    frame = av.VideoFrame(*size, pixels)
    for plane, value in zip(frame.planes, values, strict=True):
        wide = np.uint16 if "10" in pixels else np.uint8
        plane.update(np.full(plane.buffer_size // wide().itemsize, value, wide).tobytes())
    return frame
