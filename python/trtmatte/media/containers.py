"""Open videos in FFmpeg: a file as a file, whatever its name and its contents say; an address only if one is given.

FFmpeg takes names for URLs: `concat:a.mp4` joins files, and a playlist names others. A file is therefore opened with
the prefix `file:`, no other protocol is allowed, and its format must be one that opens no other file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import InputError, TrtmatteError, TruncatedError
from trtmatte.media.ffmpeg import ffmpeg, open_container, reason
from trtmatte.media.places import PROTOCOLS, Place, require_file
from trtmatte.support.limits import Limits

__all__ = ["FORMATS", "OF_FILES", "decoding", "opened", "problems_of"]

FORMATS: Final = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf", "mxf", "nut", "ivf", "dv", "rm"),
    *("wtv", "h264", "hevc", "vvc", "av1", "obu", "m4v", "vc1", "mjpeg", "dnxhd", "yuv4mpegpipe"),
    *("gif", "apng", "png_pipe", "jpeg_pipe"),
)
"""FFmpeg's names of the formats that files may have."""

OF_FILES: Final = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
"""FFmpeg's options for opening a file, whose name begins with `file:`."""

_BLOCKS: Final = 2 * 128 * 128  # pixels
_BENEATH: Final = ("tls", "httpproxy")  # what the protocols of addresses are built on
_RTSP: Final = {"rtsp_flags": "prefer_tcp"}  # firewalls drop its UDP, and losses spoil pictures
_SILENCE: Final = 30.0  # seconds that an address may send nothing


def opened(place: Place, limits: Limits | None = None) -> Any:
    """Open a video as a container of PyAV."""
    name, size, timeout = str(place), 1, None
    if isinstance(place, Path):
        size = require_file(place)
        name = f"file:{place}"
        allowed = OF_FILES
    elif limits is not None:
        raise InputError(f"{place} is an address; expected a file, since safe mode reads nothing from the network")
    else:
        allowed, timeout = {"protocol_whitelist": ",".join((*PROTOCOLS, *_BENEATH)), **_RTSP}, _SILENCE
    try:
        return open_container(
            name,
            container_options=allowed,
            options=decoding(limits),
            timeout=timeout,
        )
    except ffmpeg().error.ArgumentError as error:
        raise InputError(
            f"{place} cannot be read as a video: its format is unknown, or one that names other files, as a playlist "
            "does; expected a format like MP4, MOV, Matroska, WebM, AVI or MPEG"
        ) from error
    except Exception as error:
        raise InputError(f"{place} cannot be read as a video: {reason(error) if size else 'it is empty'}") from error


def decoding(limits: Limits | None) -> dict[str, str]:
    """The options of a decoder. It counts the pixels of whole blocks, which are more than those of the frame."""
    return {} if limits is None else {"max_pixels": str(2 * limits.pixels + _BLOCKS)}


@contextmanager
def problems_of(place: Place, read: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Raise an error of ours for any error of a library that reads this video: a TruncatedError if frames were read.

    `read` returns the number of frames so far.
    """
    try:
        yield
    except TrtmatteError:
        raise
    except Exception as error:
        if count := read():
            what = "is damaged" if isinstance(place, Path) else "breaks off"
            raise TruncatedError(f"{place} {what} after frame {count}: {reason(error)}") from error
        raise InputError(f"{place} cannot be read: {reason(error)}") from error
