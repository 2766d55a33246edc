"""Alphas of pictures and films, as numbers 0…1: the alpha channel, or the grey values where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trtmatte.errors import InputError
from trtmatte.media import still
from trtmatte.media.places import Place
from trtmatte.media.video import VideoSource

__all__ = ["Alpha", "film", "of_pixels", "read"]

Alpha = NDArray[np.float32]
"""The alpha of a picture (H, W), 0…1."""

_GREY: Final = 3.0  # levels between the channels, on average, that a lossy format may leave of a grey picture


def read(path: Path) -> Alpha:
    """Read the alpha of a picture, upright. Raises an InputError for a coloured picture without an alpha channel."""
    with still.opened(path) as picture:
        picture.load()
        turn = still.orientation(picture)[0]
        upright = picture if turn is None else picture.transpose(still.pillow("Image").Transpose[turn])
        if upright.mode.startswith("I"):
            return _deep(np.asarray(upright))
        if upright.mode not in ("L", "RGBA"):
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        return of_pixels(np.asarray(upright), path)


def film(place: Place) -> Iterator[Alpha]:
    """Read the alphas of a film's frames."""
    source = VideoSource(place, order="rgba")
    for frame in source.frames():
        yield of_pixels(frame.picture, place)


def of_pixels(pixels: NDArray[Any], name: object) -> Alpha:
    """Return the alpha of uint8 or float pixels (H, W) or (H, W, 1, 3 or 4).

    An alpha channel that is opaque everywhere, over grey values, says nothing: the grey values are the alpha.
    """
    values = np.asarray(pixels)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or not values.size:
        raise InputError(f"{name} has the shape {values.shape}; expected (H, W), or (H, W, C) with 1, 3 or 4 channels")
    if values.dtype == np.uint8:
        opaque = 255.0
    elif values.dtype.kind == "f":
        opaque = 1.0
    else:
        raise InputError(f"{name} has pixels of the type {values.dtype}; expected uint8, or floats of 0…1")
    planes = values[..., None] if values.ndim == 2 else values
    if planes.shape[2] == 4 and (planes[..., 3].min() < opaque or not _is_grey(planes, opaque)):
        chosen = planes[..., 3]
    elif planes.shape[2] == 1 or _is_grey(planes, opaque):
        chosen = planes[..., 0]
    else:
        raise InputError(f"{name} is coloured and has no alpha channel; expected an alpha: a grey picture, or RGBA")
    alpha: Alpha = np.asarray(chosen, np.float32) / np.float32(opaque)
    return alpha


def _is_grey(planes: NDArray[Any], opaque: float) -> bool:
    colours = planes[..., :3]
    spread = np.subtract(colours.max(2), colours.min(2), dtype=np.float32)
    return float(spread.mean()) * 255 / opaque <= _GREY


def _deep(values: NDArray[Any]) -> Alpha:
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels have 32 bits; expected 8 or 16")
    alpha: Alpha = np.asarray(values, np.float32) / np.float32(0xFFFF)
    return alpha
