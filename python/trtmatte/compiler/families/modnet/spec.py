"""The settings of MODNet, and the size of the picture that it sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.settings import Refinement
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size

NAME: Final = "modnet"
DIVISOR: Final = 32
_SIDE: Final = 512


@dataclass(frozen=True)
class Settings(Refinement):
    """`input_size` is the width and height that the network sees. Left out, the original's rule decides."""

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_size(self.input_size, DIVISOR)


def default_size(frame: Size) -> Size:
    """The original's rule: a frame wholly above or wholly below 512 gets a short side of 512, all are then cut to
    multiples of 32."""
    short, long = min(frame), max(frame)
    if long < _SIDE or short > _SIDE:
        short, long = _SIDE, int(long / short * _SIDE)
    width, height = (long, short) if frame[0] >= frame[1] else (short, long)
    return _cut(width), _cut(height)


def _cut(side: int) -> int:
    return max(side // DIVISOR, 1) * DIVISOR
