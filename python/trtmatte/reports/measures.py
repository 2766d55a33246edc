"""The measures of the matting literature: how far an alpha is from the true one (`docs/measures.md`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measures", "connectivity_error", "flicker", "gradient_error", "largest_region", "mean_of", "measure"]

Alpha = NDArray[np.float32]
Region = NDArray[np.bool_]

_THOUSAND: Final = 1000.0
_SIGMA: Final = 1.4
_CUT_OFF: Final = 0.01  # the density below which the Gaussian is left out
_LEVELS: Final = 10
_THETA: Final = np.float32(0.15 - 1e-6)  # in float32, 0.75 - 0.6 is less than 0.15


@dataclass(frozen=True)
class Measures:
    """Errors of an alpha, 0…1: smaller is better. Sums are in thousands, as the literature states them."""

    sad: float
    """The sum of absolute differences."""
    mse: float
    """The mean squared difference."""
    mad: float
    """The mean absolute difference."""
    gradient: float
    """The sum of squared differences of the gradients' magnitudes, of Gaussian derivatives with sigma 1.4."""
    connectivity: float
    """The sum of differences in how firmly pixels belong to the largest region."""
    dtssd: float | None = None
    """Of films: the root of the mean squared difference of the changes from the frame before, in hundredths."""

    def to_json(self) -> dict[str, float]:
        """The measures by name; without those that there are not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure(result: Alpha, truth: Alpha, region: Region | None = None) -> Measures:
    """Compare two alphas (H, W) of the same size, in a region if one is given."""
    error = np.abs(result - truth)
    inside = error if region is None else error[region]
    return Measures(
        sad=_sum(inside) / _THOUSAND,
        mse=float(np.mean(np.square(inside), dtype=np.float64)),
        mad=float(np.mean(inside, dtype=np.float64)),
        gradient=gradient_error(result, truth, region),
        connectivity=connectivity_error(result, truth, region),
    )


def mean_of(measures: list[Measures]) -> Measures:
    """Return the mean of each measure, of those that have it: a film's first frame has no change."""
    means: dict[str, Any] = {}
    for each in fields(Measures):
        known = [value for one in measures if (value := getattr(one, each.name)) is not None]
        means[each.name] = float(np.mean(known)) if known else None
    return Measures(**means)


def flicker(result: tuple[Alpha, Alpha], truth: tuple[Alpha, Alpha], region: Region | None = None) -> float:
    """Return dtSSD of two frames in a row, each given as (before, now)."""
    change = (result[1] - result[0]) - (truth[1] - truth[0])
    inside = change if region is None else change[region]
    return 100 * float(np.sqrt(np.mean(np.square(inside), dtype=np.float64)))


# ---------------------------------------------------------------------------------------------------------------------
# Gradient


def gradient_error(result: Alpha, truth: Alpha, region: Region | None = None) -> float:
    """Return the sum of squared differences of the magnitudes of the gradients, in thousands."""
    difference = np.square(_steepness(result) - _steepness(truth))
    return _sum(difference if region is None else difference[region]) / _THOUSAND


def _steepness(alpha: Alpha) -> Alpha:
    """Return the magnitude of the gradient. The filters have unit length; borders repeat."""
    reach = int(np.ceil(_SIGMA * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * _SIGMA * _CUT_OFF))))
    place = np.arange(-reach, reach + 1)
    smooth = np.exp(-(place**2) / (2 * _SIGMA**2))
    slope = -place * smooth
    smooth, slope = smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)
    down = _filtered(_filtered(alpha, slope).T, smooth).T
    across = _filtered(_filtered(alpha, smooth).T, slope).T
    steepness: Alpha = np.hypot(down, across)
    return steepness


def _filtered(plane: Alpha, weights: NDArray[np.float64]) -> Alpha:
    """Filter the columns."""
    reach, height = len(weights) // 2, len(plane)
    padded = np.pad(plane, ((reach, reach), (0, 0)), "edge")
    total = np.zeros_like(padded[:height])
    for place, weight in enumerate(weights.astype(np.float32)):
        total += weight * padded[place : place + height]
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Connectivity


def connectivity_error(result: Alpha, truth: Alpha, region: Region | None = None) -> float:
    """Return the sum of differences in connectedness, in thousands.

    A pixel is connected up to the highest level at which it belongs to the largest region where both alphas reach that
    level, and at all levels below. What its alpha has beyond that is not connected, if it is 0.15 or more.
    """
    both = np.minimum(result, truth)
    level = np.zeros_like(both)
    connected = np.ones(both.shape, bool)
    for step in range(1, _LEVELS + 1):
        height = np.float32(step / _LEVELS)
        connected &= largest_region(both >= height)
        if not connected.any():
            break
        level[connected] = height
    difference = np.abs(_connectedness(result, level) - _connectedness(truth, level))
    return _sum(difference if region is None else difference[region]) / _THOUSAND


def _connectedness(alpha: Alpha, level: Alpha) -> Alpha:
    beyond = alpha - level
    connected: Alpha = 1 - beyond * (beyond >= _THETA)
    return connected


def largest_region(mask: Region) -> Region:
    """Return the largest set of pixels that are connected by their sides; of equal ones, the first.

    Works on runs of pixels in rows, which are far fewer than pixels. Runs that touch are joined until none is left.
    """
    height, width = mask.shape
    stride = width + 1  # an empty column ends the runs of a row
    flat = np.zeros((height, stride), np.int8)
    flat[:, :width] = mask
    edges = np.flatnonzero(np.diff(flat.ravel(), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return np.zeros_like(mask)
    root = _joined(len(starts), *_touching(starts, ends, stride))
    sizes = np.bincount(root, ends - starts)
    chosen = root == np.argmax(sizes)
    steps = np.zeros(height * stride + 1, np.int8)
    steps[starts[chosen]] = 1
    steps[ends[chosen]] = -1
    found = np.cumsum(steps[:-1], dtype=np.int8).reshape(height, stride)
    return found[:, :width].astype(bool)


def _touching(starts: NDArray[Any], ends: NDArray[Any], stride: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pairs of runs that share a side: each run with those below it."""
    first = np.searchsorted(ends, starts + stride, "right")
    counts = np.maximum(np.searchsorted(starts, ends + stride, "left") - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    begin = np.cumsum(counts) - counts
    return upper, np.arange(len(upper)) - np.repeat(begin - first, counts)


def _joined(count: int, upper: NDArray[Any], lower: NDArray[Any]) -> NDArray[Any]:
    """Return the first run of each run's region. Each round at least halves the regions that are still apart."""
    root = np.arange(count)
    while True:
        one, other = root[upper], root[lower]
        apart = one != other
        if not apart.any():
            return root
        upper, lower, one, other = upper[apart], lower[apart], one[apart], other[apart]
        root[np.maximum(one, other)] = np.minimum(one, other)
        while not np.array_equal(further := root[root], root):
            root = further


def _sum(values: NDArray[Any]) -> float:
    return float(np.sum(values, dtype=np.float64))
