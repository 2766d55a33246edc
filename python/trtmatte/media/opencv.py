"""OpenCV, for aligning plates, for cameras and for windows."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trtmatte.errors import SettingError

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT


def opencv(purpose: str, extra: str) -> Any:
    """Import the module cv2, or raise an error with the remedy."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: errors are told by whoever meets them
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise SettingError(
            f"{purpose} needs OpenCV, which cannot be imported ({error}): pip install 'trtmatte[{extra}]'"
        ) from error


@contextmanager
def silent(cv: Any) -> Iterator[None]:
    """Keep OpenCV from printing errors: the caller reports them."""
    logging = getattr(cv.utils, "logging", cv)  # where it is since 4.12
    level = logging.getLogLevel()
    logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
