"""FFmpeg, through PyAV."""

from __future__ import annotations

import importlib
from typing import Any

from trtmatte.errors import SettingError


def ffmpeg() -> Any:
    """Import the module `av`, or raise an error with the remedy."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SettingError("reading and writing videos needs PyAV: pip install 'trtmatte[video]'") from error


def reason(error: BaseException) -> str:
    """The message of an FFmpeg error, without its number and the file's name."""
    return str(getattr(error, "strerror", None) or error)
