"""Backgrounds that were shot from the hand, brought onto the frame."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trtmatte.errors import SettingError
from trtmatte.media.alignment import Aligner

cv = pytest.importorskip("cv2")


def texture(width=640, height=480, seed=0):
    """Coarse and fine blotches, as in a room."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for grain in (60, 20, 6):
        blotches = random.random((height // grain + 2, width // grain + 2, 3), np.float32)
        picture += cv.resize(blotches, (width, height), interpolation=cv.INTER_CUBIC)
    return np.clip(picture * 85, 0, 255).astype(np.uint8)


def movement(degrees=2.0, scale=1.02, x=9.0, y=-6.0, tilt=2e-5):
    turn = np.deg2rad(degrees)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([(cosine, -sine, x), (sine, cosine, y), (tilt, tilt / 2, 1)])


def seen_after(picture, moved, size=None):
    """The same wall, which goes on beyond the picture, from elsewhere."""
    size = size or picture.shape[1::-1]
    return cv.warpPerspective(picture, moved, size, borderMode=cv.BORDER_REFLECT)


def corners(picture, moved):
    height, width = picture.shape[:2]
    points = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)]) @ moved.T
    return points[:, :2] / points[:, 2:]


@pytest.mark.parametrize(
    "moved",
    [
        movement(),
        movement(-4, 0.95, -20, 14, -3e-5),
        movement(0, 1, 40.5, 0, 0),
        movement(12, 1.1, 5, 30, 5e-5),
    ],
    ids=["slight", "back", "aside", "far"],
)
def test_a_known_movement_is_undone(moved):
    plate = texture()
    frame = seen_after(plate, moved)
    aligner = Aligner()
    aligned = aligner(plate, frame)
    assert np.abs(corners(plate, aligner._movement) - corners(plate, moved)).max() < 0.5  # pixels
    before = np.abs(frame.astype(int) - plate).mean()
    assert before > 5
    assert np.abs(aligned.astype(int) - frame).mean() < before / 20


def test_the_subject_does_not_disturb():
    """A third of the frame is something else, with features of its own."""
    plate, moved = texture(), movement()
    frame = seen_after(plate, moved)
    frame[120:, 200:440] = texture(seed=7)[120:, 200:440]
    aligner = Aligner()
    aligned = aligner(plate, frame)
    assert np.abs(corners(plate, aligner._movement) - corners(plate, moved)).max() < 0.5
    assert np.abs(aligned[:, :200].astype(int) - frame[:, :200]).mean() < 1
    assert np.abs(aligned[120:, 200:440].astype(int) - frame[120:, 200:440]).mean() > 20  # not taken over


def test_what_the_plate_does_not_show_is_the_frame():
    plate = texture()
    frame = seen_after(plate, movement(0, 1, 40, 0, 0))
    frame[:, :30] = 0
    aligned = Aligner()(plate, frame)
    np.testing.assert_array_equal(aligned[:, :30], frame[:, :30])
    assert aligned.dtype == np.uint8


def test_large_pictures_and_other_sizes():
    """The movement is found in small pictures and holds for the large ones."""
    plate, moved = texture(2400, 1800), movement(2, 0.8, 60, -30, 1e-6)
    frame = seen_after(plate, moved, (1920, 1440))
    aligner = Aligner()
    aligned = aligner(plate, frame)
    assert aligned.shape == frame.shape
    assert np.abs(corners(plate, aligner._movement) - corners(plate, moved)).max() < 1


def test_once_or_each_frame():
    plate = texture()
    first, second = (seen_after(plate, movement(x=x)) for x in (10, 25))
    for once in (True, False):
        aligner = Aligner(once)
        aligner(plate, first)
        error = np.abs(aligner(plate, second).astype(int) - second).mean()
        assert (error > 10) == once


@pytest.mark.parametrize(
    ("plate", "frame"),
    [
        (np.full((480, 640, 3), 90, np.uint8), texture()),
        (texture(), np.full((480, 640, 3), 90, np.uint8)),
        (texture(seed=1), texture(seed=2)),
        (np.zeros((1, 1, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)),
    ],
    ids=["flat plate", "flat frame", "strangers", "tiny"],
)
def test_what_cannot_be_aligned_is_said_once_and_used_as_it_is(plate, frame):
    told: list[str] = []
    aligner = Aligner(tell=told.append)
    for _ in range(3):
        assert aligner(plate, frame) is plate
    (message,) = told
    assert "not aligned" in message
    assert "used unchanged" in message
    assert "\n" not in message


def test_it_is_said_again_after_it_went_well():
    plate, flat = texture(), np.full((480, 640, 3), 90, np.uint8)
    told: list[str] = []
    aligner = Aligner(tell=told.append)
    for frame in (flat, plate, flat):
        aligner(plate, frame)
    assert len(told) == 2


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingError, match=r"aligning the plate needs OpenCV.*trtmatte\[align\]"):
        Aligner()
