"""OpenCV, where it is wanted: for aligning backgrounds, for cameras and for windows."""

from __future__ import annotations

import importlib
from typing import Any

from trtmatte.errors import SettingError


def opencv(purpose: str, extra: str) -> Any:
    """The module cv2."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise SettingError(
            f"{purpose} needs OpenCV, which cannot be imported ({error}): pip install 'trtmatte[{extra}]'"
        ) from error
