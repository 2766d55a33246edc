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


def link(graph: Any, first: Any, *filters: tuple[str, str | None]) -> None:
    """Complete a graph of filters: each, given by its name and arguments, reads what the one before it makes."""
    last = first
    for name, arguments in filters:
        new = graph.add(name, arguments)
        last.link_to(new)
        last = new
    graph.configure()


def reason(error: BaseException) -> str:
    """The message of an error, without the number and the file's name that those of FFmpeg have."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
