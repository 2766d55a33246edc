"""Live: what is shown, sent and counted, with a scripted camera, window and virtual camera."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.apps.live import Live
from trtmatte.errors import SettingError
from trtmatte.media.camera import CameraFrame


class Film:
    """Frames in turn; everything that `Live` asks of a camera."""

    size = engines.WIDTH, engines.HEIGHT
    dropped = 0

    def __init__(self, *pictures):
        self._pictures = list(pictures)

    def newest(self):
        return CameraFrame(self._pictures.pop(0), time.perf_counter()) if self._pictures else None


class Screen:
    """A window with somebody in front of it: one key a frame, a blank for none."""

    def __init__(self, keys=""):
        self._keys = list(keys)
        self.shown, self.texts = [], []

    def show(self, picture, text=""):
        self.shown.append(picture.copy())
        self.texts.append(text)
        key = self._keys.pop(0) if self._keys else ""
        return key.strip()


class Sent(list):
    def send(self, picture):
        self.append(picture.copy())


@pytest.fixture
def play():
    """Runs over frames; what was shown, what was sent, and the summary."""
    opened = []

    def run(*pictures, keys="", frames=None, engine=None, **options):
        window, virtual_camera = Screen(keys), Sent()
        options = {"backend": "onnxruntime", "window": window, "virtual_camera": virtual_camera, **options}
        live = Live(engine or engines.memory(), Film(*pictures), **options)
        opened.append(live)
        live.run(frames)
        return window, virtual_camera, live.summary

    yield run
    for live in opened:
        live.close()


def mattes(pictures, output, **options):
    options = {"background": "greenscreen", **options} if output == "composite" else options
    with engines.memory().session(backend="onnxruntime", outputs=(output,), color="bgr", **options) as session:
        return [session(picture)[0].copy() for picture in pictures]


PICTURES = [engines.noise(seed) for seed in range(5)]


def test_what_is_shown_is_sent_and_is_the_sessions(play):
    window, sent, summary = play(*PICTURES)
    expected = mattes(PICTURES, "composite")
    for shown, received, matte in zip(window.shown, sent, expected, strict=True):
        np.testing.assert_array_equal(shown, matte)
        np.testing.assert_array_equal(received, matte)
    assert summary.frames == 5
    assert summary.fps > 0
    assert 0 < summary.p50 <= summary.p95
    assert "5 frames" in str(summary)


def test_it_ends_after_so_many_frames_or_at_q(play):
    assert play(*PICTURES, frames=2)[2].frames == 2
    assert play(*PICTURES, keys="  q")[2].frames == 3


def test_outputs_in_turn_go_on_from_the_same_states(play):
    """composite, foreground, alpha, camera and composite again; the camera's frame is not matted."""
    window, _, _ = play(*PICTURES, keys="oooo")
    np.testing.assert_array_equal(window.shown[0], mattes(PICTURES, "composite")[0])
    np.testing.assert_array_equal(window.shown[1], mattes(PICTURES, "fgr")[1])
    np.testing.assert_array_equal(window.shown[2], mattes(PICTURES, "pha")[2])
    np.testing.assert_array_equal(window.shown[3], PICTURES[3])
    matted = [*PICTURES[:3], PICTURES[4]]
    np.testing.assert_array_equal(window.shown[4], mattes(matted, "composite")[3])
    assert [text.split(", ")[-1] for text in window.texts[1:]] == ["foreground", "alpha", "camera", "composite"]


def test_r_begins_anew(play):
    window, _, _ = play(*PICTURES[:4], keys=" r", view="alpha")
    anew = mattes(PICTURES[2:4], "pha")
    np.testing.assert_array_equal(window.shown[2], anew[0])
    np.testing.assert_array_equal(window.shown[3], anew[1])


def test_b_takes_the_background_and_lets_go_of_it(play):
    """Until there is one the camera is shown with what to do, nothing is matted and nothing is sent."""
    engine = engines.memory(with_plate=True)
    window, sent, summary = play(*PICTURES, engine=engine, keys=" b bq", view="alpha")
    for number in (0, 1, 4):
        np.testing.assert_array_equal(window.shown[number], PICTURES[number])
        assert "press B" in window.texts[number]
    with engine.session(backend="onnxruntime", outputs=("pha",), color="bgr") as session:
        for number in (2, 3):
            (expected,) = session(PICTURES[number], PICTURES[1])
            np.testing.assert_array_equal(window.shown[number], expected)
            np.testing.assert_array_equal(sent[number - 2], expected)
    assert summary.frames == len(sent) == 2


def test_b_is_nothing_to_models_without_one(play):
    window, _, _ = play(*PICTURES[:2], keys="b")
    np.testing.assert_array_equal(window.shown[1], mattes(PICTURES[:2], "composite")[1])


def test_a_background_from_a_file_needs_no_window(play):
    engine = engines.memory(with_plate=True)
    _, sent, _ = play(*PICTURES, engine=engine, window=None, plate=PICTURES[0])
    assert len(sent) == 5
    with pytest.raises(SettingError, match=r"memory needs the plate, the photographed empty scene.*: plate"):
        play(engine=engine, window=None)


def test_mirrored(play):
    window, _, _ = play(*PICTURES[:1], mirror=True)
    np.testing.assert_array_equal(window.shown[0], mattes([PICTURES[0][:, ::-1]], "composite")[0])


def test_without_an_overlay(play):
    window, _, _ = play(*PICTURES, overlay=False)
    assert window.texts == [""] * 5
    window, _, _ = play(*PICTURES)
    assert window.texts[0] == ""
    assert all(" fps, " in text for text in window.texts[1:])


def test_nothing_came(play):
    assert play()[2].frames == 0
