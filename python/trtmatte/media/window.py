"""A window that shows frames and takes keys."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import numpy as np

from trtmatte.errors import SettingError
from trtmatte.media.opencv import opencv
from trtmatte.support.options import option

_LARGEST: Final = (1280, 720)  # at first; it can be resized
_CLOSED: Final = "q"
_ESCAPE: Final = 27


class Window:
    """A window. Text is written on a copy of the picture."""

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._cv = cv = opencv("a window", "live")
        self._title = title
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SettingError(
                "a window needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set; without one: "
                f"{option('window', None)}"
            )
        try:
            cv.namedWindow(title, cv.WINDOW_NORMAL | cv.WINDOW_KEEPRATIO | cv.WINDOW_GUI_NORMAL)
        except cv.error as error:
            raise SettingError(
                "this OpenCV is built without windows (opencv-python-headless): pip uninstall opencv-python-headless, "
                f"then pip install --force-reinstall opencv-python; or go without: {option('window', None)}"
            ) from error
        scale = min(1.0, *(most / side for most, side in zip(_LARGEST, size, strict=True)))
        cv.resizeWindow(title, *(round(side * scale) for side in size))

    def show(self, picture: np.ndarray[Any, Any], text: str = "") -> str:
        """Show a frame. Returns the key that was pressed, "q" if the window was closed, or an empty string."""
        cv = self._cv
        cv.imshow(self._title, written_over(cv, picture, text))
        key = cv.waitKey(1) & 0xFF
        if key == _ESCAPE or cv.getWindowProperty(self._title, cv.WND_PROP_VISIBLE) < 1:
            return _CLOSED
        return "" if key == 0xFF else chr(key).lower()

    def close(self) -> None:
        self._cv.destroyAllWindows()


def written_over(cv: Any, picture: np.ndarray[Any, Any], text: str) -> np.ndarray[Any, Any]:
    """Write lines of white text on a dark strip, in a size that fits the picture."""
    result: np.ndarray[Any, Any] = picture.copy()
    height, width = picture.shape[:2]
    scale, font, thickness = max(0.4, min(height, width) / 900), cv.FONT_HERSHEY_SIMPLEX, 1
    margin, step = round(12 * scale), round(40 * scale)
    for row, line in enumerate(text.splitlines()):
        length = cv.getTextSize(line, font, scale, thickness)[0][0]
        top, bottom = step * row, step * (row + 1)
        result[top:bottom, : length + 2 * margin] //= 4
        place = margin, bottom - margin
        cv.putText(result, line, place, font, scale, (255, 255, 255), thickness, cv.LINE_AA)
    return result
