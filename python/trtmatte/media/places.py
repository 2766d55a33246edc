"""The places of frames: files, and addresses for those who give one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from trtmatte.errors import InputError, SettingError
from trtmatte.support.limits import Limits

__all__ = ["PROTOCOLS", "Place", "is_stream", "kind_of", "place_of", "require_file"]

Place = Path | str
"""A file, or an address."""

PROTOCOLS: Final = (
    *("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtmpts", "rtmpe", "rtmpte"),
    *("mmsh", "mmst", "rist", "sctp", "srt", "rtp", "srtp", "udp", "udplite", "tcp"),
)
"""Those of addresses."""

_OF_FILES: Final = ("http", "https")  # protocols
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def place_of(given: str | Path) -> Place:
    """Return the address if a text with :// is given, otherwise the path."""
    if not isinstance(given, str) or "://" not in given:
        return Path(given)
    protocol = given.partition("://")[0].lower()
    if protocol not in PROTOCOLS:
        raise SettingError(
            f"{given} is an address, and {protocol}:// is not read; expected {', '.join(PROTOCOLS)}, or the path of a "
            "file"
        )
    return given


def is_stream(place: Place) -> bool:
    """Report if a place is an address of what is sent, and not that of a file, which can be read twice."""
    return isinstance(place, str) and place.partition("://")[0].lower() not in _OF_FILES


def kind_of(found: os.stat_result) -> str:
    """Return `a folder`, `a pipe`… for what is no file; an empty text for a file."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "")


def require_file(path: Path, limits: Limits | None = None) -> int:
    """Return the size of a file. Raises an InputError if it is no file, or larger than the limits.

    Pipes and devices are refused: to open one can wait for ever, and a source is read more than once.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; expected a video, a picture, or a folder of pictures") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if kind := kind_of(found):
        raise InputError(f"{path} cannot be read: it is {kind}; expected a file")
    if limits is not None and found.st_size > limits.file_bytes:
        raise InputError(f"{path} has {found.st_size} bytes; expected {limits.file_bytes} at most")
    return found.st_size
