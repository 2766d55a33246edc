"""The preparation of pictures and alphas that rembg and U-2-Net have, as part of a network.

The division by a picture's maximum and the stretch of an alpha both need all of the small picture. The stretched alpha
is cut off to steps of 1/255, as rembg's masks are, which are bytes before they are resized; not for a refinement, which
resizes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from onnx import ModelProto

from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, Preparation, complete
from trtmatte.compiler.families.shared.settings import Contrast
from trtmatte.compiler.families.shared.sizes import Size, way_back
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph

__all__ = ["complete_as_rembg"]

_TINY: Final = 1e-6  # in the place of a maximum or a range of zero: a black picture, a flat alpha


def complete_as_rembg(
    graph: Graph, described: Spec, seen: Size, mean: Sequence[float], std: Sequence[float], settings: Contrast
) -> ModelProto:
    """Put the ops around a network from `IMAGE` to `ALPHA` that sees pictures of the size `seen`."""
    preparation = Preparation(seen, settings.method, mean, std)
    if settings.divide_by_maximum:
        _divide_by_maximum(graph, mean, std)
        preparation = Preparation(seen, settings.method)
    if settings.stretch:
        _stretch(graph, in_steps=not settings.refine)
    kept = {
        "input_size": list(seen),
        "divide_by_maximum": settings.divide_by_maximum,
        "stretch": settings.stretch,
        "method": settings.method,
    }
    described = replace(described, settings={**kept, **described.settings})
    return complete(graph, described, preparation, way_back(settings.method), settings)


def _divide_by_maximum(graph: Graph, mean: Sequence[float], std: Sequence[float]) -> None:
    """`IMAGE` is what the op samples; the network reads `(IMAGE / maximum - mean) / std`."""
    normal = graph.fresh("normal")
    graph.rename(IMAGE, normal)
    bright = graph.add("Div", [IMAGE, _at_least(graph, _reduced(graph, "ReduceMax", IMAGE), _TINY)])
    centred = graph.add("Sub", [bright, _planes(graph, mean)])
    graph.add("Div", [centred, _planes(graph, std)], normal)


def _stretch(graph: Graph, *, in_steps: bool) -> None:
    """`ALPHA` becomes `(alpha - minimum) / (maximum - minimum)`, cut off to steps of 1/255 if it is to be a mask."""
    plain = graph.fresh("alpha")
    graph.rename(ALPHA, plain)
    lowest, highest = (_reduced(graph, kind, plain) for kind in ("ReduceMin", "ReduceMax"))
    extent = _at_least(graph, graph.add("Sub", [highest, lowest]), _TINY)
    above = graph.add("Sub", [plain, lowest])
    if not in_steps:
        graph.add("Div", [above, extent], ALPHA)
        return
    steps = graph.add_constant(np.array(255, np.float32), "steps")
    stretched = graph.add("Div", [above, extent])
    whole = graph.add("Floor", [graph.add("Mul", [stretched, steps])])
    graph.add("Div", [whole, steps], ALPHA)


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
