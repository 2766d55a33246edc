"""Refinement of a small alpha by the colours of the frame: the guided filter of He, Sun and Tang (2013).

In every window of the small picture, alpha is fitted as a linear function of the colour. These functions vary slowly,
so they can be sampled in the size of the frame, where they are applied to its colours: an edge lies where the frame's
colour changes, not where the pixels of the small alpha end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trtmatte.compiler.families.shared.settings import Refinement
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.precision import EXACT
from trtmatte.compiler.graph.specialise import static_shape

__all__ = ["linear_alpha"]

_MIDDLE: Final = 0.5

# Of red, green, blue and alpha, the pairs whose covariances are needed: colours with colours, colours with alpha.
_LEFT: Final = (0, 0, 0, 1, 1, 2, 0, 1, 2)
_RIGHT: Final = (0, 1, 2, 1, 2, 2, 3, 3, 3)
_DIAGONAL: Final = (0, 3, 5)
_ROWS: Final = ((0, 1, 2, 6), (1, 3, 4, 7), (2, 4, 5, 8))
"""The linear equations of each pixel, as places among the pairs: three coefficients and the right-hand side."""


def linear_alpha(
    graph: Graph, image: str, alpha: str, mean: Sequence[float], std: Sequence[float], chosen: Refinement
) -> str:
    """Adds the filter to a graph. Returns the name of `[B,4,h,w]`: alpha is `a_r r + a_g g + a_b b + b` of the colours.

    `image` is normalised: `(picture - mean) / std`. The fit is made of normalised colours around a middle grey, since
    variances of small numbers are more exact. Only its result is expressed in the plain colours of the frame.
    """
    values = _Values(graph)
    spread = np.array(std)
    centred = values.add("Sub", _in_size_of(graph, image, alpha), values.planes((_MIDDLE - np.array(mean)) / spread))
    both = values.add("Concat", centred, alpha, axis=1)
    squares = values.add("Mul", values.channels(both, _LEFT), values.channels(both, _RIGHT))
    means = values.box(values.add("Concat", both, squares, axis=1), chosen.refine_radius)
    middle = values.channels(means, range(4))
    products = values.add("Mul", values.channels(middle, _LEFT), values.channels(middle, _RIGHT))
    covariances = values.add("Sub", values.channels(means, range(4, 13)), products)
    ridge = np.zeros(len(_LEFT))
    ridge[[*_DIAGONAL]] = chosen.refine_epsilon / spread**2
    covariances = values.add("Add", covariances, values.planes(ridge))
    slopes = _solved(values, [values.channels(covariances, row) for row in _ROWS])
    offset = values.channels(middle, [3])
    plain = values.add("Add", middle, values.planes([*(_MIDDLE / spread), 0]))  # the mean colours, divided by std
    for place, slope in enumerate(slopes):
        offset = values.add("Sub", offset, values.add("Mul", slope, values.channels(plain, [place])))
    fitted = values.add("Concat", *slopes, offset, axis=1)
    return values.box(values.add("Mul", fitted, values.planes([*(1 / spread), 1])), chosen.refine_radius)


def _in_size_of(graph: Graph, image: str, alpha: str) -> str:
    """The picture in the size of the alpha, which may be a part of the picture's."""
    wanted, made = static_shape(graph, alpha), static_shape(graph, image)
    assert wanted is not None
    assert made is not None
    if wanted[2:] == made[2:]:
        return image
    sizes = graph.add_constant(np.array([*made[:2], *wanted[2:]], np.int64), "sizes")
    return graph.add("Resize", [image, "", "", sizes], mode="linear", coordinate_transformation_mode="half_pixel")


def _solved(values: _Values, rows: list[str]) -> list[str]:
    """The solutions of three equations a pixel. The matrix is positive definite, so its pivots are never 0.

    Elimination loses less than Cramer's rule, whose determinant cancels where colours lie on a line.
    """
    for pivot in range(3):
        for below in range(pivot + 1, 3):
            factor = values.add("Div", values.channels(rows[below], [pivot]), values.channels(rows[pivot], [pivot]))
            rows[below] = values.add("Sub", rows[below], values.add("Mul", factor, rows[pivot]))
    found: dict[int, str] = {}
    for place in (2, 1, 0):
        rest = values.channels(rows[place], [3])
        for known, value in found.items():
            rest = values.add("Sub", rest, values.add("Mul", values.channels(rows[place], [known]), value))
        found[place] = values.add("Div", rest, values.channels(rows[place], [place]))
    return [found[place] for place in range(3)]


class _Values:
    """Adds nodes whose results stay in float32: covariances are small differences."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def add(self, kind: str, *inputs: str, **settings: object) -> str:
        return self._graph.add(kind, inputs, self._graph.fresh(EXACT), **settings)

    def channels(self, name: str, places: Sequence[int]) -> str:
        return self.add("Gather", name, self._graph.add_constant(np.array(places, np.int64), "places"), axis=1)

    def planes(self, numbers: Sequence[float] | np.ndarray) -> str:
        """A number for each channel."""
        return self._graph.add_constant(np.array(numbers, np.float32).reshape(1, -1, 1, 1), "planes")

    def box(self, name: str, radius: int) -> str:
        """The mean of a window, or of the part of it that is in the picture: down, then across."""
        for sides in ((radius, 0), (0, radius)):
            kernel = [2 * side + 1 for side in sides]
            name = self.add("AveragePool", name, kernel_shape=kernel, pads=[*sides, *sides], count_include_pad=0)
        return name
