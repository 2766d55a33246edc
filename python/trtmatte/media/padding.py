"""Padding at the edges: pictures whose sides must be multiples of a number repeat their last row and column."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["PATCH", "crop_to", "multiple_below", "multiple_of", "pad_to"]

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

PATCH: Final = 4
"""Families that refine patches need frames of whole patches."""


def multiple_of(number: int, size: Size) -> Size:
    """The next size whose width and height `number` divides."""
    return size[0] + -size[0] % number, size[1] + -size[1] % number


def multiple_below(number: int, size: Size) -> Size:
    """The largest size within `size` whose width and height `number` divides."""
    return size[0] // number * number, size[1] // number * number


def pad_to(picture: Array, size: Size) -> Array:
    """A picture (H, W, C) of at least its own size, width and height, with its edges repeated."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    return np.pad(picture, ((0, size[1] - height), (0, size[0] - width), (0, 0)), mode="edge")


def crop_to(picture: Array, size: Size) -> Array:
    """The upper left part of a picture: a view."""
    return picture[: size[1], : size[0]]
