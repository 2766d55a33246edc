"""`trtmatte live` with a film for a camera, somebody at the keys, and a stand-in for pyvirtualcam."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from tests import real_models as models
from tests.apps.test_live import Screen
from tests.media import films, servers
from tests.media.test_camera import film
from tests.media.test_virtual_camera import Recorder
from tests.runtime.session import engines
from trtmatte.cli import live, main
from trtmatte.format import file as engine
from trtmatte.media import camera as cameras
from trtmatte.media import camera_devices, window

pytest.importorskip("cv2")

PICTURES = [engines.noise(seed) for seed in range(6)]
SUMMARY = r"(\d+) frames, [\d.]+ fps; latency \d+ ms \(p50\), \d+ ms \(p95\); \d+ frames of the camera .* dropped\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "tiny.trtm"
    engine.write(engines.memory(), path)
    return path


@pytest.fixture(autouse=True)
def no_devices(monkeypatch, tmp_path):
    """This machine has no cameras."""
    monkeypatch.setattr(camera_devices, "FOLDER", tmp_path / "dev")


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return film(tmp_path_factory.mktemp("films") / "film.mkv", PICTURES, fps=10)


class Patient(cameras.Camera):
    """Its frames wait until they are taken, so that tests on busy machines see them all."""

    def _read(self):
        picture = self._first
        while picture is not None and not self._closing:
            picture = self._capture.read()[1]
            with self._changed:
                while self._newest is not None and not self._closing:
                    self._changed.wait(0.01)
                self._newest = None if picture is None else cameras.CameraFrame(picture, time.perf_counter())
                self._ended = picture is None
                self._changed.notify()
        self._capture.release()


@pytest.fixture
def screen(monkeypatch):
    """The window, and what was pressed in it."""
    shown: Any = Screen()
    shown.close = lambda: None
    monkeypatch.setattr(window, "Window", lambda title, size: shown)
    monkeypatch.setattr(cameras, "Camera", Patient)
    return shown


@pytest.fixture
def virtual(monkeypatch):
    module = Recorder()
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    return module


def run(*arguments):
    return main.main(["live", *map(str, arguments), "--backend", "onnxruntime"])


def test_without_a_window(camera, tiny, capsys):
    assert run("--camera", camera, "--engine", tiny, "--no-window", "--frames", 3) == 0
    told = capsys.readouterr()
    assert re.fullmatch(SUMMARY, told.out)[1] == "3"
    assert told.err == f"trtmatte live: {camera}: 32x24, 10 fps\n"


def test_quiet(camera, tiny, capsys):
    assert run("--camera", camera, "--engine", tiny, "--no-window", "--frames", 3, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_an_address(tiny, capsys, tmp_path):
    with servers.sending(films.film(tmp_path / "film.ts", 12)) as address:
        assert run("--camera", address, "--engine", tiny, "--no-window") == 0
    told = capsys.readouterr()
    assert re.fullmatch(SUMMARY, told.out)
    assert told.err == f"trtmatte live: {address}: 64x48, 24 fps\ntrtmatte live: {address} has ended\n"
    assert run("--camera", address, "--engine", tiny, "--no-window", "--safe") == 2
    assert "safe mode reads nothing from the network" in capsys.readouterr().err


def test_what_is_shown_is_sent_without_what_is_written_over_it(camera, tiny, screen, virtual, capsys):
    assert run("--camera", camera, "--engine", tiny, "--virtual-camera", "--background", "blue") == 0
    assert virtual.opened == (32, 24, 10, "BGR")
    assert virtual.closed
    assert len(virtual.sent) == len(PICTURES)
    with engines.memory().session(
        outputs="composite", background="blue", color="bgr", backend="onnxruntime"
    ) as session:
        for picture, sent, shown in zip(PICTURES, virtual.sent, screen.shown, strict=True):
            (expected,) = session(picture)
            np.testing.assert_array_equal(sent, expected)
            np.testing.assert_array_equal(shown, expected)
    assert all(" fps, " in text for text in screen.texts[1:])
    assert "virtual camera: /dev/video9" in capsys.readouterr().err


def test_flags(camera, tiny, screen):
    screen._keys = list("  q")
    assert run("--camera", camera, "--engine", tiny, "--mirror", "--output", "camera", "--hide-fps") == 0
    assert screen.texts == ["", "", ""]
    for shown, picture in zip(screen.shown, PICTURES, strict=False):
        np.testing.assert_array_equal(shown, picture[:, ::-1])


def test_a_film_behind(camera, tiny, screen, tmp_path):
    """It begins again when it ends."""
    behind = [engines.grey(0), engines.grey(200)]
    assert run("--camera", camera, "--engine", tiny, "--background", film(tmp_path / "behind.mkv", behind)) == 0
    with engines.memory().session(outputs="composite", color="bgr", backend="onnxruntime") as session:
        for number, (picture, shown) in enumerate(zip(PICTURES, screen.shown, strict=True)):
            (expected,) = session(picture, background=behind[number % 2])
            assert np.abs(shown.astype(int) - expected).max() <= 2  # FFmpeg's own way to RGB


def scaled(folder, size):
    from PIL import Image

    Image.new("RGB", size).save(folder / "scaled.png")
    return folder / "scaled.png"


def test_the_plate_by_key_or_from_a_file(camera, screen, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    engine.write(engines.memory(with_plate=True), tmp_path / "two.trtm")
    image.fromarray(PICTURES[5][..., ::-1]).save(tmp_path / "shot.png")
    arguments = ("--camera", camera, "--engine", tmp_path / "two.trtm", "--output", "alpha")
    screen._keys = list("b q")
    assert run(*arguments) == 0
    assert "press B" in screen.texts[0]
    assert run(*arguments, "--plate", tmp_path / "shot.png", "--frames", 1) == 0
    assert run(*arguments, "--plate", scaled(tmp_path, (64, 48)), "--frames", 1) == 0
    assert "the plate is 64x48 and the camera 32x24: the plate is scaled" in capsys.readouterr().err
    assert run(*arguments, "--plate", scaled(tmp_path, (24, 24)), "--frames", 1) == 2
    assert "the plate is 24x24 and the camera 32x24; expected the same aspect ratio" in capsys.readouterr().err
    made = engines.memory(with_plate=True)
    with made.session(outputs="pha", color="bgr", backend="onnxruntime") as session:
        np.testing.assert_array_equal(screen.shown[1], session(PICTURES[1], PICTURES[0])[0])
        session.reset()
        np.testing.assert_array_equal(screen.shown[3], session(PICTURES[0], PICTURES[5])[0])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--camera", "nothing.mp4"), "there is no video nothing.mp4"),
        (("--camera", "97"), "there is no camera 97: this machine has none; --camera takes another one"),
        (("--background", "nocolour", "--no-window"), "background is 'nocolour'"),
        (("--no-window", "--virtual-camera"), "pip install pyvirtualcam"),
    ],
)
def test_what_goes_wrong(flags, message, camera, tiny, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    given = () if "--camera" in flags else ("--camera", camera)
    assert run(*given, *flags, "--engine", tiny) == 2
    (told,) = (line for line in capfd.readouterr().err.splitlines() if "fps" not in line)
    assert told.startswith("trtmatte live: ")
    assert message in told


def test_no_window_and_no_plate(camera, tmp_path, capsys):
    engine.write(engines.memory(with_plate=True), tmp_path / "two.trtm")
    assert run("--camera", camera, "--engine", tmp_path / "two.trtm", "--no-window") == 2
    assert "leave --no-window out, or give the picture: --plate" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped(number, tiny, tmp_path):
    """It ends cleanly and says how it went."""
    camera = film(tmp_path / "film.mkv", PICTURES * 100)
    command = [sys.executable, "-m", "trtmatte.cli.main", "live", "--camera", camera, "--engine", tiny, "--no-window"]
    running = subprocess.Popen(
        [*map(str, command), "--backend", "onnxruntime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert "32x24" in running.stderr.readline()
    time.sleep(2)
    running.send_signal(number)
    out, told = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert told == "trtmatte live: stopped\n"
    assert re.fullmatch(SUMMARY, out)


def test_the_real_model_on_the_real_clip(screen, tmp_path):
    models.model("rvm-mobilenetv3")
    pytest.importorskip("onnx")
    frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in itertools.islice(models.clip(), 30)]
    camera = film(tmp_path / "clip.mkv", frames)
    assert run("--camera", camera, "--model", "rvm-mobilenetv3", "--output", "alpha", "--frames", 4) == 0
    assert len(screen.shown) == 4
    for alpha in screen.shown:
        assert 0.2 < (alpha > 200).mean() < 0.8


# ---------------------------------------------------------------------------------------------------------------------
# The webcam scripts of BackgroundMattingV2 and MODNet


@pytest.mark.parametrize(
    ("original", "ours", "name", "value"),
    [
        ("--model-checkpoint m.pth", "--model-checkpoint m.pth", "model", "m.pth"),
        ("--model-type, --model-backbone", "", "model", "m.pth"),  # recognised
        ("--model-backbone-scale 0.5", "--model-backbone-scale 0.5", "backbone_scale", 0.5),
        ("--model-refine-mode full", "--model-refine-mode full", "refine_mode", "full"),
        ("--model-refine-sample-pixels 9", "--model-refine-sample-pixels 9", "refine_sample_pixels", 9),
        ("--model-refine-threshold 0.2", "--model-refine-threshold 0.2", "refine_threshold", 0.2),
        ("--hide-fps", "--hide-fps", "hide_fps", True),
        ("--resolution 640 480", "--resolution 640 480", "resolution", [640, 480]),
        ("--precision float16", "--precision fp16", "precision", "fp16"),
        ("--backend torchscript", "--backend onnxruntime", "backend", "onnxruntime"),
        ("--video_device_id 1", "--video_device_id 1", "camera", 1),
        ("over white", "--background white", "background", "white"),
        ("MODNet: mirrored", "--mirror", "mirror", True),
        ("MODNet: the camera beside the matte", "--output camera", "output", "camera"),  # and the key o
    ],
)
def test_what_the_original_scripts_offer(original, ours, name, value):
    parser = argparse.ArgumentParser()
    live.add_parser(parser.add_subparsers())
    flags = ours if "checkpoint" in ours else f"--model m.pth {ours}"
    assert getattr(parser.parse_args(["live", *flags.split()]), name) == value, original
