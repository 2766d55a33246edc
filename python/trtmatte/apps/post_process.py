"""A mask without grey: an alpha that is opened, smoothed and cut at one half, as rembg post-processes its masks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["mask_of"]

Array = np.ndarray[Any, Any]

_SIGMA: Final = 2.0  # pixels
_RADIUS: Final = 8  # of the Gaussian, four of its standard deviations
_HALF: Final = 127
_ROUNDING: Final = 1e-3
_LINES: Final = 64  # that are smoothed at a time, so that they stay in the cache
_WEIGHTS: Final = np.exp(-0.5 * (np.arange(_RADIUS + 1) / _SIGMA) ** 2).astype(np.float32)


def mask_of(alpha: Array) -> Array:
    """Return the mask of an alpha, both uint8 (H, W, 1): 0 and 255.

    The opening removes what is narrower than three pixels. The Gaussian rounds the outline, and what is below 127
    after it is outside.
    """
    opened = _opened(alpha[..., 0])
    around = np.pad(opened, _RADIUS, mode="symmetric")
    mask = np.empty_like(opened)
    for top in range(0, len(mask), _LINES):
        lines = around[top : top + _LINES + 2 * _RADIUS]
        if lines.min() == lines.max():  # most lines of most pictures
            mask[top : top + _LINES] = 255 * (lines[0, 0] >= _HALF)
        else:
            smooth = _smoothed(_smoothed(lines.astype(np.float32)).T).T
            mask[top : top + _LINES] = 255 * (smooth > _HALF - _ROUNDING)
    return mask[..., np.newaxis]


def _opened(alpha: Array) -> Array:
    """Return the opening with a disk of radius 1, a cross of five pixels. What is outside of the picture has no say."""
    eroded = alpha
    for function, outside in ((np.minimum, 255), (np.maximum, 0)):
        around = np.pad(eroded, 1, constant_values=outside)
        height, width = alpha.shape
        eroded = around[1:-1, 1:-1].copy()
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
            function(eroded, around[top : top + height, left : left + width], out=eroded)
    return eroded


def _smoothed(lines: Array) -> Array:
    """Return the lines that have all their neighbours, each with the Gaussian's share of them."""
    count = len(lines) - 2 * _RADIUS
    total: Array = lines[_RADIUS : _RADIUS + count] * _WEIGHTS[0]
    for away in range(1, _RADIUS + 1):
        before, after = (lines[_RADIUS + step : _RADIUS + step + count] for step in (-away, away))
        total += (before + after) * _WEIGHTS[away]
    total /= _WEIGHTS[0] + 2 * _WEIGHTS[1:].sum()
    return total
