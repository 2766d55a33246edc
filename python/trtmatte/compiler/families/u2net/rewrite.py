"""U-2-Net and U-2-NetP as a trtmatte graph: FrameSample → network → MatteUpsample.

The picture is prepared as rembg does it, with which most people use this network: resized with Pillow's Lanczos, there
and back. Division by the picture's maximum, normalisation and the stretch of the result are parts of the network stage,
since they need all of the small picture; as rembg's, the stretched alpha is cut off to steps of 1/255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.shared.alpha import (
    ALPHA,
    IMAGE,
    Preparation,
    complete,
    isolate,
    network_size,
    the_picture,
)
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.sizes import Size, checked_size, way_back
from trtmatte.compiler.families.u2net.spec import MEAN, NAME, SIZE, STD, Settings
from trtmatte.compiler.graph.matching import describe
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_SIDES: Final = 6
_FEWEST_SIDES: Final = 3  # from here on a fusion of one-channel maps is a U-2-Net's, even if not one we know
_VARIANTS: Final = {512: "u2net", 64: "u2netp"}  # by the channels of the widest layer
_TINY: Final = 1e-6  # in the place of a maximum or a range of zero: a black picture, a flat alpha


def resembles(graph: Graph) -> bool:
    """No other family fuses one-channel maps of all its levels."""
    return any(_is_fusion(graph, node) for node in graph.all("Conv"))


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file, with or without the side outputs d1 to d6."""
    picture = the_picture(graph, "U-2-Net")
    fused = _fused(graph)
    seen = network_size(graph, picture, checked_size(settings.input_size)) or SIZE
    isolate(graph, picture, fused, seen, batch)
    widest = max(graph.constants[node.input[1]].shape[0] for node in graph.all("Conv"))
    return _complete(graph, _VARIANTS.get(widest, "custom"), seen, size, batch, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    seen = checked_size(settings.input_size) or SIZE
    graph = export(network, "alpha", {IMAGE: [batch, 3, seen[1], seen[0]]}, [ALPHA])
    return _complete(graph, name, seen, size, batch, settings)


def _complete(graph: Graph, variant: str, seen: Size, size: Size, batch: int, settings: Settings) -> ModelProto:
    preparation = Preparation(seen, settings.method, MEAN, STD)
    if settings.divide_by_maximum:
        _divide_by_maximum(graph)
        preparation = Preparation(seen, settings.method)
    if settings.stretch:
        _stretch(graph)
    kept = {
        "input_size": list(seen),
        "divide_by_maximum": settings.divide_by_maximum,
        "stretch": settings.stretch,
        "method": settings.method,
    }
    return complete(graph, Spec(NAME, variant, size, batch, settings=kept), preparation, way_back(settings.method))


# ---------------------------------------------------------------------------------------------------------------------
# Before and after the network


def _divide_by_maximum(graph: Graph) -> None:
    """`IMAGE` is what the op samples; the network reads `(IMAGE / maximum - mean) / std`."""
    normal = graph.fresh("normal")
    graph.rename(IMAGE, normal)
    bright = graph.add("Div", [IMAGE, _at_least(graph, _reduced(graph, "ReduceMax", IMAGE), _TINY)])
    centred = graph.add("Sub", [bright, _planes(graph, MEAN)])
    graph.add("Div", [centred, _planes(graph, STD)], normal)


def _stretch(graph: Graph) -> None:
    """`ALPHA` becomes `(alpha - minimum) / (maximum - minimum)`, cut off to steps of 1/255."""
    plain = graph.fresh("alpha")
    graph.rename(ALPHA, plain)
    lowest, highest = (_reduced(graph, kind, plain) for kind in ("ReduceMin", "ReduceMax"))
    extent = _at_least(graph, graph.add("Sub", [highest, lowest]), _TINY)
    steps = graph.add_constant(np.array(255, np.float32), "steps")
    stretched = graph.add("Div", [graph.add("Sub", [plain, lowest]), extent])
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


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _fused(graph: Graph) -> str:
    """d0: the sigmoid of the fusion of the six side maps."""
    sides = {len(_joined(graph, node)) for node in graph.all("Conv") if _is_fusion(graph, node)}
    if sides != {_SIDES}:
        found = ", ".join(map(str, sorted(sides))) or "no"
        raise ModelError(f"this looks like U-2-Net, but fuses {found} side maps; expected {_SIDES}")
    for name in graph.outputs:
        sigmoid = graph.up(name, "Sigmoid")
        fusion = None if sigmoid is None else graph.up(sigmoid.input[0], "Conv")
        if fusion is not None and _is_fusion(graph, fusion):
            return str(name)
    given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
    raise ModelError(
        f"this looks like U-2-Net, but the sigmoid of its fused side maps (d0) is none of its outputs ({given}); "
        "export it with d0 among them"
    )


def _is_fusion(graph: Graph, node: NodeProto) -> bool:
    """A convolution of 1x1 that makes one channel of as many as maps are joined for it."""
    weights = graph.constant(node.input[1])
    count = len(_joined(graph, node))
    return weights is not None and count >= _FEWEST_SIDES and weights.shape == (1, count, 1, 1)


def _joined(graph: Graph, node: NodeProto) -> list[str]:
    concat = graph.up(node.input[0], "Concat")
    return [] if concat is None else list(concat.input)
