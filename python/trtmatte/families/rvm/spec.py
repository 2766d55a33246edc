"""What the frames' size and the downsampling ratio decide for Robust Video Matting."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from trtmatte.errors import SettingError
from trtmatte.graph.precision import offsets, stem, sums, together
from trtmatte.program import State

FAMILY: Final = "rvm"
KEEP_FP32: Final = together(stem(9), offsets(10), sums(4096))
LEVELS: Final = 4
STATES: Final = tuple(State(f"r{level}", f"r{level}i", f"r{level}o") for level in range(1, LEVELS + 1))
_AUTO_SIDE: Final = 512
_FINEST: Final = 1 << 20  # denominators beyond it make no difference to a position


@dataclass(frozen=True)
class Settings:
    """`downsample_ratio` is a number or "auto": the long side to 512, never enlarged.

    With `segmentation` the program gives the logits `seg` in the place of a matte.
    """

    downsample_ratio: float | str = "auto"
    segmentation: bool = False


class Shrink(NamedTuple):
    """The small picture: its width and height, the ratio, and how far apart its pixels lie in the frame.

    Without a step the sizes decide.
    """

    size: tuple[int, int]
    ratio: float
    step: Fraction | None


def ratio(settings: Settings, size: tuple[int, int]) -> float:
    """The downsampling ratio as a number."""
    value = settings.downsample_ratio
    if value == "auto":
        return min(_AUTO_SIDE / max(size), 1.0)
    if isinstance(value, str) or not 0 < value <= 1:
        raise SettingError(f"downsample_ratio is {value!r}; expected a number above 0, up to 1, or 'auto'")
    return float(value)


def shrink(size: tuple[int, int], ratio: float, single: bool) -> Shrink:
    """The small picture of frames of this size.

    PyTorch multiplies size and ratio in double precision, ONNX Runtime in `single`; the product is rounded down, and
    the two can land on different sides of a whole number.
    """
    factor = np.float32(ratio) if single else np.float64(ratio)
    small = (int(size[0] * factor), int(size[1] * factor))
    if min(small) < 1:
        raise SettingError(
            f"downsample_ratio {ratio:g} leaves nothing of a frame of {size[0]}x{size[1]}; choose a larger one"
        )
    return Shrink(small, float(factor), 1 / Fraction(float(factor)).limit_denominator(_FINEST))


def state_shape(batch: int, channels: int, small: tuple[int, int], level: int) -> list[int]:
    """Level 1 has half the small picture's size, rounded up, each further one half of that."""
    width, height = (-(-side // 2**level) for side in small)
    return [batch, channels, height, width]
