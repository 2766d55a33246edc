"""Networks that find what stands out in a picture: FrameSample → network → MatteUpsample, as U-2-Net and ISNet do it.

FrameSample's `antialias`, a triangle as wide as the pixels are apart, stands for the originals' resize. Division by the
picture's maximum, the normalisation after it and the stretch of the result are parts of the network stage, since they
need all of the small picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from onnx import ModelProto

from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, Preparation, complete
from trtmatte.compiler.families.shared.sizes import Size
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph

_TINY: Final = 1e-6  # in the place of a maximum or a range of zero: a black picture, a flat alpha


class Treatment(NamedTuple):
    """What happens to a picture of `size` before the network, and to its alpha behind it."""

    size: Size
    mean: Sequence[float]
    std: Sequence[float]
    divide_by_maximum: bool
    stretch: bool


def surround(
    graph: Graph, family: str, variant: str, size: Size, batch: int, way: Treatment, **more: Any
) -> ModelProto:
    """The trtmatte graph of a network from `IMAGE` to `ALPHA`. `more` are further settings that readers should know."""
    if way.divide_by_maximum:
        _divide_by_maximum(graph, way.mean, way.std)
        preparation = Preparation(way.size, "antialias")
    else:
        preparation = Preparation(way.size, "antialias", way.mean, way.std)
    if way.stretch:
        _stretch(graph)
    kept: Mapping[str, Any] = {
        "input_size": list(way.size),
        "mean": list(way.mean),
        "std": list(way.std),
        "divide_by_maximum": way.divide_by_maximum,
        "stretch": way.stretch,
        **more,
    }
    return complete(graph, Spec(family, variant, size, batch, settings=kept), preparation, "linear")


def _divide_by_maximum(graph: Graph, mean: Sequence[float], std: Sequence[float]) -> None:
    """`IMAGE` is what the op samples; the network reads `(IMAGE / maximum - mean) / std`."""
    normal = graph.fresh("normal")
    graph.rename(IMAGE, normal)
    bright = graph.add("Div", [IMAGE, _at_least(graph, _reduced(graph, "ReduceMax", IMAGE), _TINY)])
    centred = graph.add("Sub", [bright, _planes(graph, mean)])
    graph.add("Div", [centred, _planes(graph, std)], normal)


def _stretch(graph: Graph) -> None:
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
