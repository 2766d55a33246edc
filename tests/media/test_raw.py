"""Raw frames through pipes."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest

from trtmatte.errors import InputError, OutputError, SettingError, TruncatedError
from trtmatte.media.raw import Raw, RawSink, RawSource


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1280x720@30", Raw(1280, 720, Fraction(30))),
        ("4x2@24000/1001", Raw(4, 2, Fraction(24000, 1001))),
        ("4x2@12.5", Raw(4, 2, Fraction(25, 2))),
        ("4x2", Raw(4, 2, Fraction(30))),
    ],
)
def test_what_raw_frames_are(text: str, raw: Raw) -> None:
    assert Raw.of(text) == raw


@pytest.mark.parametrize("text", ["", "720p", "0x4@30", "4x2@", "4x2@fast", "4x2@0", "4x2@1/0"])
def test_what_they_are_not(text: str) -> None:
    with pytest.raises(SettingError, match="expected WIDTHxHEIGHT@FPS"):
        Raw.of(text)


class Trickle(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return super().readinto(buffer[:7])


def test_frames_come_in_pieces() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 3), dtype=np.uint8)
    source = RawSource(Raw.of("4x2@25"), Trickle(pictures.tobytes()))
    frames = list(source.frames())
    assert (np.stack([frame.picture for frame in frames]) == pictures).all()
    assert [frame.pts * source.facts.time_base for frame in frames] == [0, Fraction(1, 25), Fraction(2, 25)]


def test_a_pipe_that_breaks_off() -> None:
    frames = RawSource(Raw.of("4x2"), io.BytesIO(bytes(24 + 5))).frames()
    next(frames)
    with pytest.raises(TruncatedError, match="breaks off after frame 1: 5 bytes are left, and a frame of 4x2 has 24"):
        next(frames)
    with pytest.raises(InputError, match="standard input has no frame"):
        next(RawSource(Raw.of("4x2"), io.BytesIO()).frames())


def test_what_is_written_is_the_bytes() -> None:
    pipe = io.BytesIO()
    sink = RawSink(pipe)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    sink.write(picture[:, 1:], 0, 1)
    sink.close()
    assert pipe.getvalue() == picture[:, 1:].tobytes()


def test_nobody_reads() -> None:
    class Broken(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(OutputError, match="standard output cannot be written: Broken pipe"):
        RawSink(Broken()).write(np.zeros((2, 2, 3), np.uint8), 0, 1)
