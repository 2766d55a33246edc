"""BiRefNet as a trtmatte graph: FrameSample → network → MatteUpsample.

Official files end with the logits, files made for rembg's `bria-rmbg` with their sigmoid; both are known. Division by
the picture's maximum and the stretch of the result, rembg's habits, are parts of the network stage.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.birefnet.spec import DIVISOR, MEAN, NAME, SAMPLING, SIZE, STD, WAY_BACK, Settings
from trtmatte.compiler.families.shared.alpha import (
    ALPHA,
    IMAGE,
    Preparation,
    complete,
    isolate,
    network_size,
    the_picture,
)
from trtmatte.compiler.families.shared.contrast import divide_by_maximum, stretch
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.sizes import Size, checked_size, size_text
from trtmatte.compiler.graph.linear import join_linear
from trtmatte.compiler.graph.matching import describe
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.specialise import specialise
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_OPSET: Final = 19  # the first with DeformConv
_PIECES: Final = tuple(3 << 2 * level for level in (5, 4, 3, 2))  # channels of the picture cut up for each level
_WIDTHS: Final = {96: "swin_t", 192: "swin_l"}
"""The backbones by the width of their first level, of those whose files are published."""


def resembles(graph: Graph) -> bool:
    """No other family has convolutions that read a picture cut into 1024, 256, 64 and 16 pieces."""
    read = {_weights_shape(graph, node)[1:] for node in graph.all("Conv")}
    return {(pieces, 3, 3) for pieces in _PIECES} <= read


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file that gives the logits or the alpha."""
    picture = the_picture(graph, "BiRefNet")
    result, is_logits = _result(graph)
    seen = network_size(graph, picture, checked_size(settings.input_size, DIVISOR)) or SIZE
    if any(side % DIVISOR for side in seen):
        raise ModelError(
            f"this looks like BiRefNet, but takes pictures of {size_text(seen)}; expected multiples of {DIVISOR}"
        )
    alpha = graph.add("Sigmoid", [result]) if is_logits else result
    variant = _backbone(graph)
    isolate(graph, picture, alpha, seen, batch)
    kept = {"output": result, "logits": is_logits}
    return _complete(graph, Spec(NAME, variant, size, batch, settings=kept), seen, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    seen = checked_size(settings.input_size, DIVISOR) or SIZE
    graph = export(network, "alpha", {IMAGE: [batch, 3, seen[1], seen[0]]}, [ALPHA], _OPSET)
    specialise(graph, {})
    return _complete(graph, Spec(NAME, name.removeprefix(f"{NAME}_"), size, batch), seen, settings)


def _complete(graph: Graph, described: Spec, seen: Size, settings: Settings) -> ModelProto:
    join_linear(graph)
    preparation = Preparation(seen, SAMPLING, MEAN, STD)
    if settings.divide_by_maximum:
        divide_by_maximum(graph, MEAN, STD)
        preparation = Preparation(seen, SAMPLING)
    if settings.stretch:
        stretch(graph)
    kept = {
        "input_size": list(seen),
        "divide_by_maximum": settings.divide_by_maximum,
        "stretch": settings.stretch,
    }
    described = replace(described, settings={**described.settings, **kept})
    return complete(graph, described, preparation, WAY_BACK)


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _result(graph: Graph) -> tuple[str, bool]:
    """The last output that a convolution to one channel makes, and whether it is before the sigmoid.

    Files with the coarser levels among their outputs have the finest at the end.
    """
    for name in reversed(graph.outputs):
        sigmoid = graph.up(name, "Sigmoid")
        head = graph.up(name if sigmoid is None else sigmoid.input[0], "Conv")
        if head is not None and _weights_shape(graph, head)[:1] == (1,):
            return str(name), sigmoid is None
    given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
    raise ModelError(
        f"this looks like BiRefNet, but none of its outputs ({given}) is its logits or their sigmoid; export it with "
        "one of the two as its only output"
    )


def _backbone(graph: Graph) -> str:
    """By the convolution that makes patches of the picture."""
    first = [shape for shape in (_weights_shape(graph, node) for node in graph.all("Conv")) if shape[1:] == (3, 4, 4)]
    return _WIDTHS.get(first[0][0], "custom") if first else "custom"


def _weights_shape(graph: Graph, node: NodeProto) -> tuple[int, ...]:
    weights = graph.constant(node.input[1])
    return () if weights is None else weights.shape
