"""The colour spaces of videos: read from their tags (ITU-T H.273), or guessed from the size without tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trtmatte.media.ffmpeg import ffmpeg

RGB: Final = 0
BT709: Final = 1
UNKNOWN: Final = 2
SD: Final = 6  # of BT.601, 525 lines; the matrix is that of 625 lines, too

BT2020: Final = 9  # PyAV before 18 converts from it, and not to it

LIMITED: Final = 1
FULL: Final = 2

_HDR: Final = {16: "PQ", 18: "HLG"}  # transfer functions
_MATRICES: Final = (1, 4, 5, 6, 7, 9)  # those that swscale converts


@dataclass(frozen=True)
class Colour:
    """The tags of a video that is written."""

    matrix: int
    primaries: int
    transfer: int

    def tag(self, codec_context: Any) -> None:
        codec_context.colorspace = self.matrix
        codec_context.color_primaries = self.primaries
        codec_context.color_trc = self.transfer
        codec_context.color_range = LIMITED

    def tag_frame(self, frame: Any) -> None:
        frame.colorspace, frame.color_primaries, frame.color_trc = self.matrix, self.primaries, self.transfer


def usual(size: tuple[int, int]) -> Colour:
    """The usual colours of a size: BT.709 if it is larger than standard definition, otherwise BT.601."""
    code = BT709 if size[0] >= 1280 or size[1] > 576 else SD
    return Colour(code, code, code)


def of(frame: Any) -> Colour:
    """The colours for encoding a frame that was decoded to RGB. HDR becomes BT.709."""
    if is_hdr(frame):
        return Colour(BT709, BT709, BT709)
    guess = usual((frame.width, frame.height))
    return Colour(
        frame.colorspace if is_written(frame.colorspace) else guess.matrix,
        guess.primaries if frame.color_primaries in (0, UNKNOWN) else frame.color_primaries,
        guess.transfer if frame.color_trc in (0, UNKNOWN) else frame.color_trc,
    )


def is_written(matrix: int) -> bool:
    """Report if pictures can be converted to this matrix."""
    return matrix in _MATRICES and (matrix != BT2020 or hasattr(ffmpeg().video.reformatter.Colorspace, "BT2020"))


def is_hdr(frame: Any) -> bool:
    return frame.color_trc in _HDR


def lost(frame: Any) -> str:
    """Return what a frame loses as 8-bit RGB, such as `10 bits a channel: its frames become 8-bit`; or nothing."""
    bits = max((component.bits for component in frame.format.components), default=8)
    if is_hdr(frame):
        return f"HDR ({_HDR[frame.color_trc]}) and {bits} bits a channel: its frames become 8-bit BT.709"
    return f"{bits} bits a channel: its frames become 8-bit" if bits > 8 else ""


def complete(frame: Any) -> None:
    """Set the matrix of a frame that has no tag for it."""
    if frame.colorspace == UNKNOWN:
        frame.colorspace = usual((frame.width, frame.height)).matrix
