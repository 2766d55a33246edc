"""MODNet as a trtmatte graph: FrameSample → network → MatteUpsample, area sampling both ways as in the original.

The network is the part of an official ONNX file from the picture to the matte. Other outputs are dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.modnet.spec import DIVISOR, NAME, Settings, default_size
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
from trtmatte.compiler.families.shared.sizes import Size, checked_size, size_text
from trtmatte.compiler.graph.matching import describe
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_MATTE_NORMS: Final = 16  # the instance normalisations before the matte; the other two outputs have fewer
_HALF: Final = (0.5, 0.5, 0.5)


def resembles(graph: Graph) -> bool:
    """No other family normalises a part of the channels instance by instance."""
    return any(graph.up(node.input[0], "Slice", "Split") for node in graph.all("InstanceNormalization"))


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an official ONNX file, with the matte alone or all three outputs."""
    picture = the_picture(graph, "MODNet")
    matte = _matte(graph)
    seen = network_size(graph, picture, checked_size(settings.input_size, DIVISOR)) or default_size(size)
    if any(side % DIVISOR for side in seen):
        raise ModelError(
            f"this looks like MODNet, but takes pictures of {size_text(seen)}; expected multiples of {DIVISOR}"
        )
    isolate(graph, picture, matte, seen, batch)
    return _complete(graph, seen, size, batch, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    seen = checked_size(settings.input_size, DIVISOR) or default_size(size)
    graph = export(network, "alpha", {IMAGE: [batch, 3, seen[1], seen[0]]}, [ALPHA])
    return _complete(graph, seen, size, batch, settings)


def _complete(graph: Graph, seen: Size, size: Size, batch: int, settings: Settings) -> ModelProto:
    described = Spec(NAME, "mobilenetv2", size, batch, settings={"input_size": list(seen)})
    return complete(graph, described, Preparation(seen, "area", _HALF, _HALF), "area", settings)


def _matte(graph: Graph) -> str:
    """The output that both branches lead to."""
    norms = {name: len(_norms(graph, name)) for name in graph.outputs}
    matte: str = max(norms, key=lambda name: norms[name])
    if norms[matte] != _MATTE_NORMS:
        counts = ", ".join(f"{name} {count}" for name, count in norms.items())
        raise ModelError(
            f"this looks like MODNet, but of its outputs ({counts} instance normalisations before it) none is the "
            f"matte; expected one with {_MATTE_NORMS}"
        )
    if graph.up(matte, "Sigmoid") is None:
        raise ModelError(
            f"this looks like MODNet, but its matte {matte} is {describe(graph, matte)}; expected a Sigmoid's result"
        )
    return matte


def _norms(graph: Graph, name: str) -> list[NodeProto]:
    return [node for node in graph.ancestors([name]) if node.op_type == "InstanceNormalization"]
