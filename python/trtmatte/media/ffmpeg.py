"""FFmpeg, through PyAV."""

from __future__ import annotations

import importlib
from typing import Any, Final

from trtmatte.errors import SettingError
from trtmatte.support.packages import release_of

_ALWAYS_KEEPS_METADATA: Final = (19, 0)  # PyAV


def ffmpeg() -> Any:
    """Import the module `av`, or raise an error with the remedy."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SettingError("reading and writing videos needs PyAV: pip install 'trtmatte[video]'") from error


def open_container(file: Any, mode: str = "r", **options: Any) -> Any:
    """Open a container of PyAV. Metadata that are not UTF-8 are kept byte by byte."""
    av = ffmpeg()
    if release_of(av.__version__) < _ALWAYS_KEEPS_METADATA:
        options["metadata_errors"] = "surrogateescape"
    return av.open(file, mode, **options)


def reason(error: BaseException) -> str:
    """The message of an error, without the number and the file's name that those of FFmpeg have."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
