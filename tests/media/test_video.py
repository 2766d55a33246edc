"""Videos read: upright, in their true colours, at their times, and what is wrong with those that are not whole."""

from __future__ import annotations

import itertools
import logging
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media import films
from trtmatte.errors import InputError, TruncatedError
from trtmatte.media import colour
from trtmatte.media.video import VideoSource

PATCH = (200, 40, 90)


def read(path: Path, **options: Any) -> list[Any]:
    return list(VideoSource(path, **options).frames())


def test_frames_and_facts(tmp_path: Path) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4"))
    frames = list(source.frames())
    facts = source.facts
    assert (facts.size, facts.rate, facts.count, facts.aspect) == ((64, 48), films.NTSC, 12, 1)
    assert [frame.pts * facts.time_base for frame in frames] == [number / films.NTSC for number in range(12)]
    assert all(frame.duration * facts.time_base == 1 / films.NTSC for frame in frames)
    for number, frame in enumerate(frames):
        assert (frame.picture.dtype, frame.picture.shape) == (np.uint8, (48, 64, 3))
        assert np.abs(frame.picture.astype(int) - films.picture(number)).mean() < 4


def test_a_video_is_read_twice(tmp_path: Path) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4", 5))
    first, second = list(source.frames()), list(source.frames())
    assert len(first) == 5
    assert all((a.picture == b.picture).all() and a.pts == b.pts for a, b in zip(first, second, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Colours


@pytest.mark.parametrize("matrix", [1, 6, 9], ids=["BT.709", "BT.601", "BT.2020"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(("pixels", "bits"), [("yuv420p", 8), ("yuv420p10le", 10), ("yuv444p", 8)])
def test_colours_are_those_of_the_tags(matrix: int, full: bool, pixels: str, bits: int, tmp_path: Path) -> None:
    frame = films.plain(films.yuv(PATCH, matrix, full=full, bits=bits), pixels)
    tags = (matrix, 1, 1, 2 if full else 1)
    path = films.film(tmp_path / "a.mkv", [frame], pixels=pixels, tags=tags, options={"qp": "0"})
    source = VideoSource(path)
    (read,) = source.frames()
    assert np.abs(read.picture.astype(int) - PATCH).max() <= 3
    assert source.facts.colour == colour.Colour(matrix if colour.is_written(matrix) else colour.SD, 1, 1)


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 6), ((720, 576), 6), ((1280, 720), 1), ((720, 1280), 1)])
def test_without_tags_the_size_decides(size: tuple[int, int], matrix: int, tmp_path: Path) -> None:
    frame = films.plain(films.yuv(PATCH, matrix, full=False, bits=8), "yuv420p", size)
    source = VideoSource(films.film(tmp_path / "a.mkv", [frame], options={"qp": "0"}))
    (read,) = source.frames()
    assert np.abs(read.picture.astype(int) - PATCH).max() <= 3
    assert source.facts.colour.matrix == matrix


@pytest.mark.slow
def test_hdr_becomes_what_screens_show(tmp_path: Path) -> None:
    """PQ's code of diffuse white, 203 candelas, is white; tagged as such the result is BT.709."""
    white = films.plain([round(64 + 876 * 0.58), 512, 512], "yuv420p10le")
    path = films.film(tmp_path / "a.mkv", [white], pixels="yuv420p10le", tags=(9, 9, 16, 1), options={"qp": "0"})
    source = VideoSource(path)
    (read,) = source.frames()
    assert read.picture.min() > 245
    assert source.facts.colour == colour.Colour(1, 1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)], ids=["", "hflip", "vflip"])
def test_frames_are_upright(rotation: int, flips: tuple[bool, bool], tmp_path: Path) -> None:
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32] = 230, 150, 80
    expected = np.rot90(stored, rotation // 90)
    expected = expected[:, ::-1] if flips[0] else expected
    expected = expected[::-1] if flips[1] else expected
    path = films.film(tmp_path / "a.mp4", [stored], rotation=rotation, flips=flips)
    source = VideoSource(path)
    (read,) = source.frames()
    assert source.facts.size == (expected.shape[1], expected.shape[0])
    assert np.abs(read.picture.astype(int) - expected).mean() < 4


def test_resizing_and_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = films.film(tmp_path / "a.mp4", 2, aspect=Fraction(4, 3), rotation=90)
    plain, wide = VideoSource(path), VideoSource(path, resize=(96, 64))
    assert (plain.facts.size, plain.facts.aspect) == ((48, 64), Fraction(3, 4))
    assert (wide.facts.size, wide.facts.aspect) == ((96, 64), Fraction(3, 8))  # the picture keeps its proportions
    assert next(wide.frames()).picture.shape == (64, 96, 3)


def test_odd_sizes(tmp_path: Path) -> None:
    path = films.film(tmp_path / "a.mkv", [films.picture(0, 33, 25)], codec="ffv1", pixels="yuv444p")
    (frame,) = read(path)
    assert np.abs(frame.picture.astype(int) - films.picture(0, 33, 25)).max() < 8


def test_a_size_that_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [
        films.film(tmp_path / f"{size[0]}.h264", [films.picture(number, *size) for number in range(3)])
        for size in ((64, 48), (32, 64))
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    with caplog.at_level(logging.WARNING):
        frames = read(both)
    assert [frame.picture.shape for frame in frames] == [(48, 64, 3)] * 6
    assert [record.message.split(" ", 1)[1] for record in caplog.records] == [
        "changes its size to 32x64; its frames are brought to 64x48"
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Times


def test_variable_rates_and_late_starts(tmp_path: Path) -> None:
    times = [1000, 1040, 1200, 1210, 2000]
    path = films.film(tmp_path / "a.mkv", 5, times=times, time_base=Fraction(1, 1000))
    source = VideoSource(path)
    assert [frame.pts * source.facts.time_base * 1000 for frame in source.frames()] == times


def test_frames_without_times(tmp_path: Path) -> None:
    """A bare stream of H.264 has none: its frames come at its rate."""
    source = VideoSource(films.film(tmp_path / "a.h264", 5, rate=Fraction(25)))
    times = [frame.pts * source.facts.time_base for frame in source.frames()]
    assert len(times) == 5
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("start", [None, Fraction(1), Fraction("2.02")])
@pytest.mark.parametrize("end", [None, Fraction(3)])
def test_a_part(start: Fraction | None, end: Fraction | None, tmp_path: Path) -> None:
    """Not only from key frames, and counted from where the video begins."""
    path = films.film(tmp_path / "a.mp4", 100, rate=Fraction(25), start=25, options={"g": "30"})
    source = VideoSource(path, start=start, end=end)
    frames = list(source.frames())
    first = 0 if start is None else -(-start * 25 // 1)
    last = 100 if end is None else end * 25
    assert len(frames) == last - first
    assert source.facts.count == pytest.approx(len(frames), abs=1)
    assert frames[0].pts * source.facts.time_base == (1 if start is None else 0)
    assert np.abs(frames[0].picture.astype(int) - films.picture(int(first))).mean() < 6


# ---------------------------------------------------------------------------------------------------------------------
# What is wrong


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "promise"), [("a.mp4", r"its header says 60 frames"), ("a.mkv", r"its header says 2\.\d+ seconds")]
)
def test_a_video_that_breaks_off(name: str, promise: str, tmp_path: Path) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8) for number in range(60)]
    container = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = cut(films.film(tmp_path / name, noise, container=container), 0.6)
    got = []
    breaks_off = rf"breaks off after frame \d+; {promise}|is damaged after frame \d+: "  # FFmpeg before 8.1
    with pytest.raises(TruncatedError, match=breaks_off) as caught:
        got.extend(VideoSource(path).frames())
    assert 25 < len(got) < 45
    assert re.search(rf"after frame {len(got)}[;:]", str(caught.value))


def test_a_part_of_a_video_that_breaks_off_is_whole(tmp_path: Path) -> None:
    path = cut(films.film(tmp_path / "a.mp4", 60, container={"movflags": "faststart"}), 0.8)
    assert len(read(path, end=Fraction(1, 2))) == 12


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 100)
    cut(films.film(tmp_path / "headless.mp4"), 0.5)  # what tells where its frames lie stands at its end
    with films.av.open(str(tmp_path / "sound.m4a"), "w") as file:
        file.mux(films.tones(file.add_stream("aac", rate=48000), Fraction(0), Fraction(1)))
    for name, why in {
        "empty.mp4": "cannot be read as a video: it is empty",
        "text.mp4": "cannot be read as a video: Invalid data",
        "headless.mp4": "cannot be read as a video: Invalid data",
        "sound.m4a": "has no video, but audio; expected a file with pictures",
        "missing.mp4": "there is no file .*; expected a video, a picture, or a folder",
    }.items():
        with pytest.raises(InputError, match=why):
            VideoSource(tmp_path / name)


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = films.film(tmp_path / "a.mkv", codec="libvpx-vp9", options={})
    path.write_bytes(path.read_bytes().replace(b"V_VP9", b"V_VP?"))
    with pytest.raises(InputError, match=r"no decoder for the video in .*; convert it"):
        VideoSource(path)


def test_a_time_after_the_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no frame there"):
        VideoSource(films.film(tmp_path / "a.mp4"), start=Fraction(20))


def broken_off(path: Path) -> Path:
    films.film(path, 60, rate=Fraction(25), container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-3000])
    return path


@pytest.mark.parametrize("end", [None, Fraction(10), Fraction(239, 100)])
def test_an_end_behind_that_of_a_file_that_breaks_off(end: Fraction | None, tmp_path: Path) -> None:
    source = VideoSource(broken_off(tmp_path / "a.mp4"), end=end)
    breaks_off = r"breaks off after frame \d+; its header says 60 frames|is damaged after frame \d+: "  # as above
    with pytest.raises(TruncatedError, match=breaks_off):
        list(source.frames())


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (None, Fraction(5), "a.mp4 ends after 2.00 seconds, before end=5.0"),
        (Fraction(1), Fraction(5, 2), "a.mp4 ends after 2.00 seconds, before end=2.5"),
        (None, Fraction(2), ""),
        (None, Fraction(203, 100), ""),  # within a frame
        (None, None, ""),
        (Fraction(1), Fraction(3, 2), ""),
    ],
)
def test_an_end_behind_that_of_the_film(
    start: Fraction | None, end: Fraction | None, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4", 50, rate=Fraction(25), start=3), start=start, end=end)
    with caplog.at_level(logging.WARNING):
        list(source.frames())
    assert [message.split("/")[-1] for message in caplog.messages] == ([told] if told else [])


@pytest.mark.parametrize(
    ("pixels", "tags", "lost"),
    [
        ("yuv420p10le", (9, 9, 16, 1), "HDR (PQ) and 10 bits a channel: its frames become 8-bit BT.709"),
        ("yuv420p10le", (9, 9, 18, 1), "HDR (HLG) and 10 bits a channel: its frames become 8-bit BT.709"),
        ("yuv422p10le", (1, 1, 1, 1), "10 bits a channel: its frames become 8-bit"),
        ("yuv420p", (1, 1, 1, 1), ""),
    ],
)
def test_what_is_lost(pixels: str, tags: tuple[int, int, int, int], lost: str, tmp_path: Path) -> None:
    frame = films.plain([500, 500, 500] if "10" in pixels else [100, 100, 100], pixels)
    frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = tags
    path = films.film(tmp_path / "a.mkv", [frame], codec="ffv1", pixels=pixels, tags=tags, options={})
    assert VideoSource(path).facts.lost == lost
