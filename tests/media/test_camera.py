"""Cameras, by films that play as ones and by a stand-in for OpenCV's."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media import camera, camera_devices
from trtmatte.media.camera import Camera

cv = pytest.importorskip("cv2")


def film(path, frames, fps=25):
    """A film without losses."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        out.mux(stream.encode())
    return path


def numbered(count, size=(64, 48)):
    return [np.full((size[1], size[0], 3), (10 * number, 100, 200), np.uint8) for number in range(count)]


def test_a_film_comes_in_order_and_ends(tmp_path):
    frames = numbered(5)
    with Camera(film(tmp_path / "film.mkv", frames, fps=5)) as source:
        assert (source.size, source.fps) == ((64, 48), 5)
        seen = []
        while (shot := source.newest()) is not None:
            seen.append(shot)
        for shot, frame in zip(seen, frames, strict=True):
            np.testing.assert_array_equal(shot.picture, frame)
        assert source.newest() is None
        assert source.dropped == 0
        pace = (seen[-1].time - seen[0].time) / 4
        assert 0.15 < pace < 0.35  # it plays at its 5 frames a second, whatever else this machine does


def test_who_is_late_gets_the_newest(tmp_path):
    frames = numbered(12)
    with Camera(film(tmp_path / "film.mkv", frames, fps=50)) as source:
        source.newest()
        source._thread.join(10)  # the film is over
        assert source.newest().picture[0, 0, 0] == 110
        assert source.newest() is None
        assert source.dropped == 10


class Capture:
    """A camera as OpenCV opens it, that obeys only in part."""

    def __init__(self, source):
        self.source, self.asked, self.released = source, {}, False
        self.left = 4
        self.may_go_on = threading.Event()

    def isOpened(self):  # noqa: N802
        return self.source == 0

    def set(self, name, value):
        self.asked[name] = value

    def get(self, name):
        return 0.0

    def read(self):
        if self.left < 3:
            self.may_go_on.wait(5)
        self.left -= 1
        return (True, np.zeros((480, 640, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.released = True


@pytest.fixture
def captures(monkeypatch):
    made = []
    monkeypatch.setattr(cv, "VideoCapture", lambda source: made.append(Capture(source)) or made[-1])
    return made


def test_size_and_rate_are_wishes(captures):
    with Camera(0, (1280, 720), 60) as source:
        (capture,) = captures
        assert capture.asked[cv.CAP_PROP_FRAME_WIDTH] == 1280
        assert capture.asked[cv.CAP_PROP_FRAME_HEIGHT] == 720
        assert capture.asked[cv.CAP_PROP_FPS] == 60
        assert source.size == (640, 480)
        assert not capture.released
    assert capture.released


def test_a_camera_that_is_unplugged(captures):
    with Camera(0) as source:
        source.newest()
        captures[0].may_go_on.set()
        source._thread.join()
        source.newest()
        with pytest.raises(TruncatedError, match="camera 0 sends no more frames; is it plugged in"):
            source.newest()


def test_a_camera_that_hangs(captures, monkeypatch):
    monkeypatch.setattr(camera, "_PATIENCE", 0.1)
    source = Camera(0)
    source.newest()
    with pytest.raises(TruncatedError, match="has sent no frame"):
        source.newest()
    captures[0].may_go_on.set()
    source.close()


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """The folder of the devices of this machine."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(camera_devices, "FOLDER", tmp_path / "dev")
    return tmp_path / "dev"


def test_a_camera_that_is_not_there(captures, devices):
    with pytest.raises(InputError, match=r"there is no camera 7: this machine has none; camera takes another one"):
        Camera(7)
    for number in (10, 2):
        (devices / f"video{number}").touch()
    with pytest.raises(InputError, match=r"there is no camera 7: there is \S*/video2, \S*/video10; camera takes"):
        Camera("/dev/video7")


def test_a_camera_that_cannot_be_opened(captures, devices, monkeypatch):
    (devices / "video7").touch()
    with pytest.raises(InputError, match=r"camera 7 cannot be opened; is no other program using it"):
        Camera(7)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"camera 7 cannot be opened: \S*/video7 may not be read; add yourself"):
        Camera(7)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(InputError, match=r"camera 7 cannot be opened; is it plugged in"):
        Camera(7)


@pytest.mark.parametrize("name", ["/dev/video0", "by-id"])
def test_a_camera_by_its_file(name, captures, tmp_path):
    (tmp_path / "by-id").symlink_to("/dev/video0")
    with Camera(tmp_path / name) as source:
        assert (source.name, captures[0].source) == ("camera 0", 0)


def test_what_is_no_film(tmp_path, capfd):
    with pytest.raises(InputError, match="there is no video"):
        Camera(tmp_path / "nothing.mp4")
    (tmp_path / "text.mp4").write_text("words")
    with pytest.raises(InputError, match=r"text.mp4 cannot be opened; it is no video"):
        Camera(tmp_path / "text.mp4")
    assert capfd.readouterr().err == ""


def test_a_film_is_read_as_a_file(tmp_path, monkeypatch):
    """Whatever its name is, and no other file with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(camera._FFMPEG_OPTIONS, raising=False)
    secret = film(tmp_path / "secret.mkv", numbered(3))
    for name in ("co:lon.mkv", "http:x.mkv", "shot_%02d.mkv"):
        (tmp_path / name).write_bytes(secret.read_bytes())
        with Camera(name) as source:
            assert source.size == (64, 48)
    for name, text in (("a.mkv", "ffconcat version 1.0\nfile secret.mkv\n"), ("shot_%02d.png", "no picture")):
        (tmp_path / name).write_text(text)
        cv.imwrite(str(tmp_path / "shot_01.png"), np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(InputError, match="it is no video that OpenCV can read"):
            Camera(name)
    assert camera._FFMPEG_OPTIONS not in os.environ


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 0)}, r"resolution is \(0, 0\)"),
        ({"size": (1 << 40, 9)}, "resolution is"),
        ({"fps": 0}, "fps is 0; expected frames a second"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": 1e30}, "fps is 1e"),
    ],
)
def test_numbers_that_nobody_means(options, message, captures):
    with pytest.raises(SettingError, match=message):
        Camera(0, **options)
    assert not captures


@pytest.mark.parametrize("fps", [float("nan"), -1.0, 1e-9, 1e12])
def test_a_rate_that_cannot_be(fps, captures, monkeypatch):
    monkeypatch.setattr(Capture, "get", lambda self, name: fps)
    with Camera(0) as source:
        assert source.fps == 30


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingError, match=r"a camera needs OpenCV.*trtmatte\[live\]"):
        Camera(0)
