"""Windows, by a stand-in for OpenCV's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trtmatte.errors import SettingError
from trtmatte.media.window import Window, written_over

cv = pytest.importorskip("cv2")


@pytest.fixture
def screen(monkeypatch):
    """What OpenCV was asked for; the keys that it gives, and whether the window is still there."""
    told: dict[str, Any] = {"shown": [], "keys": [], "visible": 1.0}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv, "namedWindow", lambda title, flags: told.update(title=title))
    monkeypatch.setattr(cv, "resizeWindow", lambda title, width, height: told.update(size=(width, height)))
    monkeypatch.setattr(cv, "imshow", lambda title, picture: told["shown"].append(picture))
    monkeypatch.setattr(cv, "waitKey", lambda wait: told["keys"].pop(0) if told["keys"] else -1)
    monkeypatch.setattr(cv, "getWindowProperty", lambda title, name: told["visible"])
    monkeypatch.setattr(cv, "destroyAllWindows", lambda: told.update(title=None))
    return told


@pytest.mark.parametrize(
    ("frame", "window"), [((640, 480), (640, 480)), ((3840, 2160), (1280, 720)), ((1080, 1920), (405, 720))]
)
def test_it_fits_on_the_screen(frame, window, screen):
    Window("title", frame)
    assert screen["size"] == window


def test_keys(screen):
    window, picture = Window("title", (64, 48)), np.zeros((48, 64, 3), np.uint8)
    screen["keys"] = [ord("b"), ord("O"), -1, 27]
    assert [window.show(picture) for _ in range(4)] == ["b", "o", "", "q"]
    screen["visible"] = 0.0
    assert window.show(picture) == "q"
    window.close()
    assert screen["title"] is None


def test_text_is_written_on_a_copy(screen):
    window, picture = Window("title", (320, 240)), np.full((240, 320, 3), 90, np.uint8)
    window.show(picture, "30 fps")
    (shown,) = screen["shown"]
    assert (picture == 90).all()
    assert (shown[: 240 // 4] != 90).any()
    assert (shown[240 // 4 :] == 90).all()


@pytest.mark.parametrize("shape", [(2160, 3840, 3), (48, 64, 1), (720, 1280, 1)])
def test_text_on_any_picture(shape):
    written = written_over(cv, np.full(shape, 90, np.uint8), "30 fps\nalpha")
    assert written.reshape(shape).min() < 30
    assert written.reshape(shape).max() > 200


def test_mirrored_pictures(screen):
    Window("title", (64, 48)).show(np.zeros((48, 64, 3), np.uint8)[:, ::-1], "30 fps")
    assert screen["shown"][0].max() > 0


def test_an_opencv_without_windows(monkeypatch):
    if not any("GUI:" in line and "NONE" in line for line in cv.getBuildInformation().splitlines()):
        pytest.skip("this OpenCV has windows")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(SettingError, match="pip uninstall opencv-python-headless"):
        Window("title", (64, 48))


def test_no_display(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingError, match="without one: window=None"):
        Window("title", (64, 48))
