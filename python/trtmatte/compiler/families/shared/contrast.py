"""Contrast as rembg and U-2-Net change it, as part of a network: both steps need all of the small picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE
from trtmatte.compiler.graph.onnx_graph import Graph

__all__ = ["divide_by_maximum", "stretch"]

_TINY: Final = 1e-6  # in the place of a maximum or a range of zero: a black picture, a flat alpha


def divide_by_maximum(graph: Graph, mean: Sequence[float], std: Sequence[float]) -> None:
    """`IMAGE` is what the op samples; the network reads `(IMAGE / maximum - mean) / std`."""
    normal = graph.fresh("normal")
    graph.rename(IMAGE, normal)
    bright = graph.add("Div", [IMAGE, _at_least(graph, _reduced(graph, "ReduceMax", IMAGE), _TINY)])
    centred = graph.add("Sub", [bright, _planes(graph, mean)])
    graph.add("Div", [centred, _planes(graph, std)], normal)


def stretch(graph: Graph) -> None:
    """`ALPHA` becomes `(alpha - minimum) / (maximum - minimum)`."""
    plain = graph.fresh("alpha")
    graph.rename(ALPHA, plain)
    lowest, highest = (_reduced(graph, kind, plain) for kind in ("ReduceMin", "ReduceMax"))
    extent = _at_least(graph, graph.add("Sub", [highest, lowest]), _TINY)
    graph.add("Div", [graph.add("Sub", [plain, lowest]), extent], ALPHA)


def _reduced(graph: Graph, kind: str, name: str) -> str:
    """Of each image's values, `[B,1,1,1]`. From opset 18 on the axes are an input."""
    axes = (1, 2, 3)
    if graph.opset < 18:
        return graph.add(kind, [name], axes=axes, keepdims=1)
    return graph.add(kind, [name, graph.add_constant(np.array(axes, np.int64), "axes")], keepdims=1)


def _at_least(graph: Graph, name: str, floor: float) -> str:
    return graph.add("Max", [name, graph.add_constant(np.array(floor, np.float32), "floor")])


def _planes(graph: Graph, values: Sequence[float]) -> str:
    return graph.add_constant(np.array(values, np.float32).reshape(1, 3, 1, 1), "planes")
