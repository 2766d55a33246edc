"""Timecodes are counted as SMPTE ST 12 says, also where numbers are dropped."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from trtmatte.media.timecode import advanced, timecode_of

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "frames", "rate", "later"),
    [
        ("10:00:00:05", 0, Fraction(25), "10:00:00:05"),
        ("10:00:00:05", 20, Fraction(25), "10:00:01:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:59:59:23", 1, Fraction(24000, 1001), "01:00:00:00"),
        ("01:00:59:29", 1, NTSC, "01:01:00:00"),
        ("01:00:59;29", 1, NTSC, "01:01:00;02"),
        ("01:09:59;29", 1, NTSC, "01:10:00;00"),
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("00:00:59.59", 1, Fraction(60000, 1001), "00:01:00.04"),
        ("23:59:59;29", 1, NTSC, "00:00:00;00"),
        ("no timecode", 5, NTSC, "no timecode"),
    ],
)
def test_a_later_frame(timecode: str, frames: int, rate: Fraction, later: str) -> None:
    assert advanced(timecode, frames, rate) == later


def test_each_frame_of_ten_minutes_has_a_number_of_its_own() -> None:
    numbers = [advanced("00:00:00;00", frame, NTSC) for frame in range(17982)]
    assert len(set(numbers)) == 17982
    assert numbers == sorted(numbers)
    assert not any(number[4] != "0" and number.endswith(("00;00", "00;01")) for number in numbers)
    assert all(advanced(numbers[frame], 1, NTSC) == numbers[frame + 1] for frame in range(1790, 1810))


def file(video: dict[str, str], data: dict[str, str], whole: dict[str, str]) -> Any:
    streams = [SimpleNamespace(type="video", metadata=video), SimpleNamespace(type="data", metadata=data)]
    return SimpleNamespace(streams=streams, metadata=whole)


@pytest.mark.parametrize(
    ("video", "data", "whole", "found"),
    [
        ({"timecode": "01:00:00:00"}, {}, {"timecode": "02:00:00:00"}, "01:00:00:00"),
        ({"TIMECODE": "01:00:00;00"}, {}, {}, "01:00:00;00"),
        ({}, {"timecode": "01:00:00:00"}, {}, "01:00:00:00"),
        ({"timecode": "soon"}, {}, {"timecode": "01:00:00:00"}, "01:00:00:00"),
        ({"timecode": "25:00:00:00"}, {"timecode": "1:2:3:4"}, {"title": "01:00:00:00"}, ""),
    ],
)
def test_the_place_of_a_timecode(
    video: dict[str, str], data: dict[str, str], whole: dict[str, str], found: str
) -> None:
    container = file(video, data, whole)
    assert timecode_of(container, container.streams[0]) == found
