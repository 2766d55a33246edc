"""Plates of another size than the frame: they are scaled to it if the aspect ratio is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trtmatte.errors import InputError
from trtmatte.media import still

__all__ = ["fitted"]

Array = np.ndarray[Any, Any]

_TOLERANCE: Final = 0.01  # of the aspect ratio: a scaled copy has rounded sides


def fitted(plate: Array, size: tuple[int, int], what: str, tell: Callable[[str], object]) -> Array:
    """Return the plate, uint8 (H, W, 3), in the size of a frame of `what`, which is "film" or "picture".

    `tell` gets a message if the plate is scaled. Raises an InputError if its aspect ratio is another.
    """
    height, width = plate.shape[:2]
    if (width, height) == size:
        return plate
    sizes = f"the plate is {width}x{height} and the {what} {size[0]}x{size[1]}"
    if abs(width * size[1] / (height * size[0]) - 1) > _TOLERANCE:
        raise InputError(f"{sizes}; expected the same aspect ratio: crop the plate, or take another photograph")
    tell(f"{sizes}: the plate is scaled")
    image = still.pillow("Image")
    return np.asarray(image.fromarray(plate).resize(size, image.Resampling.BICUBIC))
