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

_PLANES: Final = 4  # red, green, blue, alpha


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
    means = values.box(values.add("Concat", both, *values.products(both), axis=1), chosen.refine_radius)
    middle = values.channels(means, 0, _PLANES)
    rows, begin = [], _PLANES
    for place, product in enumerate(values.products(middle)):
        count = _PLANES - place
        ridge = [chosen.refine_epsilon / spread[place] ** 2, *[0.0] * (count - 1)]
        covariances = values.add("Sub", values.channels(means, begin, count), product)
        rows.append(values.add("Add", covariances, values.planes(ridge)))
        begin += count
    slopes = _solved(values, rows)
    offset = values.channels(middle, 3)
    plain = values.add("Add", middle, values.planes([*(_MIDDLE / spread), 0]))  # the mean colours, divided by std
    for place, slope in enumerate(slopes):
        offset = values.add("Sub", offset, values.add("Mul", slope, values.channels(plain, place)))
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
    """The solutions of three equations a pixel, whose matrix is symmetric and positive definite.

    A row begins at the diagonal and ends with the right-hand side. Pivots are never 0, and elimination loses less than
    Cramer's rule, whose determinant cancels where colours lie on a line.
    """
    for pivot in range(3):
        for below in range(pivot + 1, 3):
            apart = below - pivot
            factor = values.add("Div", values.channels(rows[pivot], apart), values.channels(rows[pivot], 0))
            rest = values.channels(rows[pivot], apart, _PLANES - below)
            rows[below] = values.add("Sub", rows[below], values.add("Mul", factor, rest))
    found: dict[int, str] = {}
    for place in (2, 1, 0):
        rest = values.channels(rows[place], 3 - place)
        for known, value in found.items():
            rest = values.add("Sub", rest, values.add("Mul", values.channels(rows[place], known - place), value))
        found[place] = values.add("Div", rest, values.channels(rows[place], 0))
    return [found[place] for place in range(3)]


class _Values:
    """Adds nodes whose results stay in float32: covariances are small differences."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def add(self, kind: str, *inputs: str, **settings: object) -> str:
        return self._graph.add(kind, inputs, self._graph.fresh(EXACT), **settings)

    def channels(self, name: str, begin: int, count: int = 1) -> str:
        numbers = [self._graph.add_constant(np.array([each], np.int64), "slice") for each in (begin, begin + count, 1)]
        return self.add("Slice", name, *numbers)

    def products(self, name: str) -> list[str]:
        """Of each colour: its products with itself and with the planes after it, the last of which is alpha."""
        return [
            self.add("Mul", self.channels(name, place), self.channels(name, place, _PLANES - place))
            for place in range(3)
        ]

    def planes(self, numbers: Sequence[float] | np.ndarray) -> str:
        """A number for each channel."""
        return self._graph.add_constant(np.array(numbers, np.float32).reshape(1, -1, 1, 1), "planes")

    def box(self, name: str, radius: int) -> str:
        """The mean of a window, or of the part of it that is in the picture: down, then across."""
        for sides in ((radius, 0), (0, radius)):
            kernel = [2 * side + 1 for side in sides]
            name = self.add("AveragePool", name, kernel_shape=kernel, pads=[*sides, *sides], count_include_pad=0)
        return name
