"""ISNet as a trtmatte graph: FrameSample → network → MatteUpsample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.isnet.spec import NAME, SIZE, Settings
from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, isolate, network_size, the_picture
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.saliency import Treatment, surround
from trtmatte.compiler.families.shared.sizes import Size, checked_size
from trtmatte.compiler.graph.matching import describe, pictures
from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_FEWEST_JOINS: Final = 32  # of skips; the U's of the original's eleven stages have 50
_WIDEST: Final = 512


def resembles(graph: Graph) -> bool:
    """The first convolution halves the picture and another follows without an activation; many small U's come then."""
    picture = pictures(graph)
    if len(picture) != 1 or len(graph.all("Concat")) < _FEWEST_JOINS:
        return False
    first = [node for node in graph.down(picture[0]) if node.op_type == "Conv"]
    if len(first) != 1 or list(attributes(first[0]).get("strides", ())) != [2, 2]:
        return False
    return any(node.op_type == "Conv" for node in graph.down(first[0].output[0])) and bool(_sides(graph))


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file, with or without the other side outputs."""
    picture = the_picture(graph, "ISNet")
    alpha = _finest(graph)
    seen = network_size(graph, picture, checked_size(settings.input_size)) or SIZE
    isolate(graph, picture, alpha, seen, batch)
    widest = max(graph.constants[node.input[1]].shape[0] for node in graph.all("Conv"))
    return _surround(graph, "isnet" if widest == _WIDEST else "custom", seen, size, batch, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    seen = checked_size(settings.input_size) or SIZE
    graph = export(network, "alpha", {IMAGE: [batch, 3, seen[1], seen[0]]}, [ALPHA])
    return _surround(graph, name, seen, size, batch, settings)


def _surround(graph: Graph, variant: str, seen: Size, size: Size, batch: int, settings: Settings) -> ModelProto:
    way = Treatment(seen, settings.mean, settings.std, settings.divide_by_maximum, settings.stretch)
    return surround(graph, NAME, variant, size, batch, way)


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _finest(graph: Graph) -> str:
    """d1: the sigmoid of the side output that all others are computed before."""
    sides = {name: conv for name, conv in _sides(graph).items() if graph.up(name, "Sigmoid")}
    if not sides:
        given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
        raise ModelError(
            f"this looks like ISNet, but none of its outputs is the sigmoid of a side output ({given}); export it with "
            "the sigmoid of the first, d1"
        )
    return max(sides, key=lambda name: len(graph.ancestors([sides[name].input[0]])))


def _sides(graph: Graph) -> dict[str, NodeProto]:
    """The outputs that are side outputs, and the convolutions of 3x3 that make their one channel."""
    found = {}
    for name in graph.outputs:
        node = graph.up(name, "Sigmoid", "Resize", "Conv")
        for kind in ("Sigmoid", "Resize"):
            if node is not None and node.op_type == kind:
                node = graph.up(node.input[0], "Resize", "Conv")
        weights = graph.constant(node.input[1]) if node is not None and node.op_type == "Conv" else None
        if node is not None and weights is not None and weights.shape[0] == 1 and weights.shape[2:] == (3, 3):
            found[str(name)] = node
    return found
