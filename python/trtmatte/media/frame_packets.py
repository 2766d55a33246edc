"""The frames of a live stream, each in a packet of its own: decoded at once, to RGB."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trtmatte.errors import InputError, SettingError
from trtmatte.media import colour, still
from trtmatte.media.ffmpeg import ffmpeg, reason
from trtmatte.media.still import Encoded
from trtmatte.support.limits import SAFE, Limits

__all__ = ["CODECS", "PacketDecoder"]

Array = np.ndarray[Any, Any]

CODECS: Final = ("vp8", "vp9", "h264", "jpeg", "i420")
"""How the frames of a live stream may be encoded; `i420` is not encoded."""


class PacketDecoder:
    """Decodes the packets of one stream, in their order, without waiting for the next one."""

    def __init__(self, codec: str, limits: Limits = SAFE) -> None:
        if codec not in CODECS:
            raise SettingError(f"codec is {codec!r}; expected {', '.join(CODECS)}")
        self._codec, self._limits = codec, limits
        self._context: Any = None
        self._needs_key = True
        self._sws = ffmpeg().video.reformatter.VideoReformatter()

    def __call__(self, data: bytes, size: tuple[int, int], *, is_key: bool, matrix: int, full_range: bool) -> Array:
        """The frame in a packet, uint8 RGB (H, W, 3).

        `size` is that of the frame by its sender, `matrix` that of its colours (`media.colour`). After a packet that
        cannot be decoded, the next one must be a key frame.
        """
        if not (0 < size[0] * size[1] <= self._limits.pixels):
            raise InputError(f"the frame is {size[0]}x{size[1]}; expected {self._limits.pixels} pixels at most")
        if self._codec == "jpeg":
            return still.read(Encoded(data, "the frame"), self._limits).pixels
        frame = _planes(data, size) if self._codec == "i420" else self._decoded(data, is_key)
        frame.colorspace = matrix
        frame.color_range = colour.FULL if full_range else colour.LIMITED
        picture: Array = self._sws.reformat(frame, format="rgb24", interpolation="BICUBIC").to_ndarray()
        return picture

    def _decoded(self, data: bytes, is_key: bool) -> Any:
        if self._needs_key and not is_key:
            raise InputError("the frame needs those before it, and one of them is lost; expected a key frame")
        if self._context is None or self._needs_key:
            self._context = self._opened()
        self._needs_key = True  # until it is decoded
        try:
            frames = self._context.decode(ffmpeg().Packet(data))
        except (ffmpeg().FFmpegError, ValueError, MemoryError) as error:
            raise InputError(f"the frame cannot be decoded: {reason(error)}; expected {self._codec}") from error
        if not frames:
            raise InputError(f"the packet has no frame; expected one, in {self._codec}")
        self._needs_key = False
        return frames[-1]

    def _opened(self) -> Any:
        context = ffmpeg().CodecContext.create(self._codec, "r")
        context.thread_count = 1  # several threads work on several frames, and the first one waits for the others
        context.options = {"max_pixels": str(self._limits.pixels), "flags": "low_delay"}
        return context


def _planes(data: bytes, size: tuple[int, int]) -> Any:
    """A frame of the planes of I420, as they are in memory."""
    width, height = size
    small = (width + 1) // 2, (height + 1) // 2
    expected = width * height + 2 * small[0] * small[1]
    if len(data) != expected:
        raise InputError(f"the frame has {len(data)} bytes; expected {expected}, of I420 in {width}x{height}")
    frame = ffmpeg().VideoFrame(width, height, "yuv420p")
    begin = 0
    for plane, (columns, lines) in zip(frame.planes, (size, small, small), strict=True):
        end = begin + columns * lines
        target = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        target[:lines, :columns] = np.frombuffer(data, np.uint8)[begin:end].reshape(lines, columns)
        begin = end
    return frame
