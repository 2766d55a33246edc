"""The settings of Robust Video Matting, and what they and the frame's size determine."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from trtmatte.compiler.families.flags import flag
from trtmatte.errors import SettingError
from trtmatte.format.stages import State

NAME: Final = "rvm"
LEVELS: Final = 4
STATES: Final = tuple(State(f"r{level}", f"r{level}i", f"r{level}o") for level in range(1, LEVELS + 1))
_AUTO_SIDE: Final = 512
_ROUNDING: Final = 1e-6  # of a ratio in float32, which is rounded down with the size
_FINEST: Final = 1 << 20  # denominators beyond it make no difference to a position


@dataclass(frozen=True)
class Settings:
    """`downsample_ratio` is a number, or "auto": reduce the long side to 512 if it is longer, and the short side to one
    pixel at least.

    With `segmentation` the program outputs the logits `seg` in place of a matte.
    """

    downsample_ratio: float | str = flag(
        "auto",
        "a number, or auto, which reduces the long side to 512 (default: auto)",
        kind="number or word",
        metavar="R",
    )
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
        one_pixel = (1 + _ROUNDING) / min(size)
        return min(max(_AUTO_SIDE / max(size), one_pixel), 1.0)
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
