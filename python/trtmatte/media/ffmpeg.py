"""FFmpeg, through PyAV."""

from __future__ import annotations

import importlib
from typing import Any, Final

from trtmatte.errors import SettingError

METADATA_ERRORS: Final = "surrogateescape"
"""Metadata that is not UTF-8 is kept byte by byte."""


def ffmpeg() -> Any:
    """Import the module `av`, or raise an error with the remedy."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SettingError("reading and writing videos needs PyAV: pip install 'trtmatte[video]'") from error


def reason(error: BaseException) -> str:
    """The message of an error, without the number and the file's name that those of FFmpeg have."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
