"""A film that is written keeps the timecode of its source, and interlaced frames stay marked so."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.media import films
from trtmatte.media.fields import FieldMarker, field_order
from trtmatte.media.video import VideoSource

av = films.av
RATE = Fraction(25)
NTSC = Fraction(30000, 1001)


def timed(path: Path, timecode: str, rate: Fraction = RATE, **options: Any) -> Path:
    def tag(file: Any) -> None:
        file.streams.video[0].metadata["timecode"] = timecode

    return films.film(path, 30, rate=rate, prepare=tag, **options)


def timecodes(path: Path) -> dict[str, str]:
    """The timecodes of a file: of its video, and of its timecode track."""
    with av.open(str(path)) as file:
        tags = {stream.type: {k.lower(): v for k, v in stream.metadata.items()} for stream in file.streams}
    return {kind: each["timecode"] for kind, each in tags.items() if "timecode" in each}


@pytest.mark.parametrize("given", ["a.mp4", "a.mov", "a.mkv", "a.mxf"])
@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_timecodes(given: str, name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"codec": "mpeg2video", "options": {}} if given == "a.mxf" else {}
    source = VideoSource(timed(tmp_path / given, "10:00:00:05", **options))
    assert source.facts.timecode == "10:00:00:05"
    films.through(source, tmp_path / name)
    tracks = ("video",) if name == "b.mkv" else ("video", "data")
    assert timecodes(tmp_path / name) == dict.fromkeys(tracks, "10:00:00:05")


def test_the_timecode_of_a_part(tmp_path: Path) -> None:
    """It is that of the first frame that is written, also where frame numbers are dropped."""
    source = VideoSource(timed(tmp_path / "a.mov", "00:00:59;20", NTSC, sound="aac"), start=Fraction(1, 2))
    films.through(source, tmp_path / "b.mp4")
    assert timecodes(tmp_path / "b.mp4")["data"] == "00:01:00;07"  # 15 frames later, and two numbers dropped


def test_a_film_without_a_timecode(tmp_path: Path) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4", 3, rate=RATE))
    films.through(source, tmp_path / "b.mov")
    assert (source.facts.timecode, timecodes(tmp_path / "b.mov")) == ("", {})


# ---------------------------------------------------------------------------------------------------------------------
# Fields


def interlaced(path: Path, order: str, size: tuple[int, int] = (64, 48)) -> Path:
    mark = FieldMarker(order)
    frames = []
    for number in range(8):
        frame = av.VideoFrame.from_ndarray(films.picture(number, *size), "rgb24").reformat(format="yuv420p")
        frame.time_base = 1 / RATE
        frames.append(mark(frame))
    return films.film(path, frames, rate=RATE, codec="ffv1", options={})


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.mp4", {}),
        ("b.mov", {}),
        ("b.mkv", {}),
        ("b.mov", {"codec": "prores"}),
        ("b.mov", {"alpha": True}),
        ("b.mkv", {"codec": "prores"}),
    ],
)
def test_interlaced_frames(
    order: str, name: str, options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = VideoSource(interlaced(tmp_path / "a.mkv", order))
    assert source.facts.fields == order
    with caplog.at_level(logging.WARNING):
        after = films.through(source, tmp_path / name, **options)
    assert {field_order(frame) for frame in after.frames} == {order}
    assert after.tags == (source.facts.colour.matrix, source.facts.colour.primaries, source.facts.colour.transfer, 1)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "size", "options", "encoder"),
    [
        ("b.mp4", (64, 48), {"codec": "h265"}, "libx265"),
        ("b.webm", (64, 48), {}, "libvpx-vp9"),
        ("b.mp4", (64, 46), {}, "libx264"),
    ],
)
def test_what_cannot_be_marked_is_told(
    name: str,
    size: tuple[int, int],
    options: dict[str, Any],
    encoder: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = VideoSource(interlaced(tmp_path / "a.mkv", "tff", size))
    with caplog.at_level(logging.WARNING):
        after = films.through(source, tmp_path / name, **options)
    assert {field_order(frame) for frame in after.frames} == {""}
    (told,) = caplog.messages
    assert f"is not marked as interlaced, as its source is: {encoder} cannot store such frames of {size[1]}" in told


def test_frames_without_the_lines_of_the_source_are_progressive(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mkv", "tff")
    assert VideoSource(path, resize=(32, 24)).facts.fields == ""
    assert VideoSource(path, resize=(32, 48)).facts.fields == "tff"
    assert VideoSource(films.film(tmp_path / "b.mp4", 2)).facts.fields == ""
