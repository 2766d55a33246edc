"""The kinds of outputs that are no mattes: maps of BackgroundMattingV2, shown as pictures of the frame's size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from trtmatte.errors import SettingError
from trtmatte.format.program import Program
from trtmatte.media.padding import crop_to
from trtmatte.media.targets import MAPS

__all__ = ["picture_of", "session_outputs"]

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

_SMOOTH: Final = "error"  # whose values are interpolated; a patch is refined or it is not


def session_outputs(outputs: Iterable[str], program: Program) -> dict[str, str]:
    """The session's outputs that hold these; raises a SettingError for a map that the model does not make."""
    return {each: _name(each, program) for each in outputs}


def picture_of(value: Array, output: str, padded: Size, size: Size) -> Array:
    """The picture of an output, uint8 (H, W, C), of a frame of this size that was padded to another."""
    if output not in MAPS:
        return crop_to(value, size)
    small: Array = value.reshape(value.shape[-2:])
    enlarged = _interpolated(small, padded) if output == _SMOOTH else _repeated(small, padded)
    return crop_to(np.rint(enlarged * 255).astype(np.uint8, order="C")[..., np.newaxis], size)


def _name(output: str, program: Program) -> str:
    if output not in MAPS:
        return output
    found = next((name for name in MAPS[output] if name in program.outputs), None)
    if found is None:
        raise SettingError(
            f"{program.family} {program.variant} makes no output {output}; BackgroundMattingV2 does, refined only with "
            "its refiner"
        )
    return found


def _repeated(small: Array, size: Size) -> Array:
    rows, columns = (np.arange(side) * few // side for side, few in zip(reversed(size), small.shape, strict=True))
    repeated: Array = small[rows][:, columns]
    return repeated


def _interpolated(small: Array, size: Size) -> Array:
    """Enlarge linearly; the centres of the corner pixels are not stretched to the corners."""
    for axis, side in enumerate(reversed(size)):
        few = small.shape[axis]
        places = np.clip((np.arange(side, dtype=np.float32) + 0.5) * (few / side) - 0.5, 0, few - 1)
        first = places.astype(np.intp)
        weight = (places - first).astype(np.float32).reshape(-1, *[1] * (1 - axis))
        before, after = (small.take(each, axis) for each in (first, np.minimum(first + 1, few - 1)))
        small = before + (after - before) * weight
    return small
