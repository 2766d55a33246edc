"""IS-Net as a trtmatte graph: FrameSample → network → MatteUpsample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onnx import ModelProto

from trtmatte.compiler.families.isnet.spec import NAME, SIZE, Settings
from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, isolate, network_size, the_picture
from trtmatte.compiler.families.shared.contrast import complete_as_rembg
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.sizes import Size, checked_size
from trtmatte.compiler.graph.matching import describe, is_map
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_STAGES: Final = 11
_WIDEST_DILATION: Final = 8


def resembles(graph: Graph) -> bool:
    """Eleven small U-shaped networks, as in U-2-Net, whose maps are not fused.

    U-2-Net's own rule comes first. Each small network adds its result to what its first convolution made, both after
    their activation; the deepest ones have convolutions with holes.
    """
    dilations = {attributes(node).get("dilations", [1])[0] for node in graph.all("Conv")}
    sums = [node for node in graph.all("Add") if all(graph.up(name, "Relu") for name in node.input)]
    return len(sums) == _STAGES and max(dilations, default=1) == _WIDEST_DILATION


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file, with or without the coarser maps and the features among its outputs."""
    picture = the_picture(graph, "IS-Net")
    finest = _finest(graph)
    seen = network_size(graph, picture, checked_size(settings.input_size)) or SIZE
    isolate(graph, picture, finest, seen, batch)
    return _complete(graph, seen, size, batch, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    seen = checked_size(settings.input_size) or SIZE
    graph = export(network, "alpha", {IMAGE: [batch, 3, seen[1], seen[0]]}, [ALPHA])
    return _complete(graph, seen, size, batch, settings)


def _complete(graph: Graph, seen: Size, size: Size, batch: int, settings: Settings) -> ModelProto:
    kept = {"mean": list(settings.mean), "std": list(settings.std)}
    described = Spec(NAME, "dis", size, batch, settings=kept)
    return complete_as_rembg(graph, described, seen, settings.mean, settings.std, settings)


def _finest(graph: Graph) -> str:
    """The map that most of the network is needed for."""
    maps = {name: len(graph.ancestors([name])) for name in graph.outputs if _is_alpha(graph, name)}
    if not maps:
        given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
        raise ModelError(
            f"this looks like IS-Net, but none of its outputs ({given}) is a map after its sigmoid; export it with d1, "
            "the finest, among them"
        )
    finest: str = max(maps, key=lambda name: maps[name])
    return finest


def _is_alpha(graph: Graph, name: str) -> bool:
    """Report if an output is the sigmoid of a map of one channel."""
    sigmoid = graph.up(name, "Sigmoid")
    return sigmoid is not None and is_map(graph, sigmoid.input[0], 1)
