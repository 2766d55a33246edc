"""Virtual cameras, by a stand-in for pyvirtualcam."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from trtmatte.errors import BackendError, SettingError
from trtmatte.media.virtual_camera import VirtualCamera


class Recorder(types.ModuleType):
    """pyvirtualcam, keeping what is sent."""

    def __init__(self, problem=""):
        super().__init__("pyvirtualcam")
        self.sent, self.problem, self.closed = [], problem, False
        self.PixelFormat = types.SimpleNamespace(BGR="BGR")

    def Camera(self, width, height, fps, *, fmt):  # noqa: N802
        if self.problem:
            raise RuntimeError(self.problem)
        self.opened = (width, height, fps, fmt)
        return types.SimpleNamespace(device="/dev/video9", send=self._send, close=self._close)

    def _send(self, frame):
        width, height = self.opened[:2]
        assert frame.shape == (height, width, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        self.sent.append(frame.copy())

    def _close(self):
        self.closed = True


@pytest.fixture
def recorder(monkeypatch):
    module = Recorder()
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    return module


def test_frames_arrive(recorder):
    camera = VirtualCamera((64, 48), 30)
    assert (camera.name, recorder.opened) == ("/dev/video9", (64, 48, 30, "BGR"))
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    camera.send(picture)
    camera.send(picture[:, ::-1])
    camera.send(picture[..., :1])
    camera.close()
    for sent, expected in zip(recorder.sent, (picture, picture[:, ::-1], picture[..., [0, 0, 0]]), strict=True):
        np.testing.assert_array_equal(sent, expected)
    assert recorder.closed


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SettingError, match="pip install pyvirtualcam"):
        VirtualCamera((64, 48), 30)


def test_without_a_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", Recorder("'v4l2loopback' backend: No device found.\nWhy?"))
    with pytest.raises(BackendError, match=r"No device found\. Why\? On Linux: .*modprobe v4l2loopback"):
        VirtualCamera((64, 48), 30)
