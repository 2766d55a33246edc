"""U-2-Net, U-2-NetP and the U-2-Net for clothing as a trtmatte graph: FrameSample → network → MatteUpsample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, isolate, network_size, the_picture
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.saliency import Treatment, surround
from trtmatte.compiler.families.shared.sizes import Size, checked_size
from trtmatte.compiler.families.u2net.spec import CLOTHES, MEAN, NAME, SIZE, STD, Settings
from trtmatte.compiler.graph.matching import describe
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError, SettingError

if TYPE_CHECKING:
    from torch import nn

_SIDES: Final = 6
_FEWEST_SIDES: Final = 3  # from here on a fusion of maps of all levels is a U-2-Net's, even if not one we know
_CLOTH: Final = "u2net_cloth"
_VARIANTS: Final = {512: "u2net", 64: "u2netp"}  # by the channels of the widest layer
_IMAGENET: Final = Treatment(SIZE, MEAN, STD, divide_by_maximum=True, stretch=True)
_WAYS: Final = {_CLOTH: Treatment((768, 768), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), divide_by_maximum=False, stretch=False)}


def resembles(graph: Graph) -> bool:
    """No other family fuses the maps of all its levels."""
    return any(_classes(graph, node) for node in graph.all("Conv"))


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file, with or without the side outputs d1 to d6."""
    picture = the_picture(graph, "U-2-Net")
    fusion = _fusion(graph)
    variant, alpha = _variant(graph, fusion), ""
    if variant == _CLOTH:
        alpha = _clothing(graph, fusion.output[0], settings.clothes)
    else:
        _require_no_clothes(variant, settings)
        alpha = _fused(graph)
    asked = network_size(graph, picture, checked_size(settings.input_size))
    way = _treatment(variant, asked, settings)
    isolate(graph, picture, alpha, way.size, batch)
    return surround(graph, NAME, variant, size, batch, way, **_more(variant, settings))


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    way = _treatment(name, checked_size(settings.input_size), settings)
    shape = [batch, 3, way.size[1], way.size[0]]
    if name == _CLOTH:
        graph = export(network, "logits", {IMAGE: shape}, ["logits"])
        graph.rename(_clothing(graph, "logits", settings.clothes), ALPHA)
    else:
        _require_no_clothes(name, settings)
        graph = export(network, "alpha", {IMAGE: shape}, [ALPHA])
    return surround(graph, NAME, name, size, batch, way, **_more(name, settings))


def _treatment(variant: str, size: Size | None, settings: Settings) -> Treatment:
    """What the original does, where the settings say nothing else."""
    usual = _WAYS.get(variant, _IMAGENET)
    asked = {
        "size": size,
        "mean": settings.mean,
        "std": settings.std,
        "divide_by_maximum": settings.divide_by_maximum,
        "stretch": settings.stretch,
    }
    return usual._replace(**{name: value for name, value in asked.items() if value is not None})


def _more(variant: str, settings: Settings) -> dict[str, str]:
    return {"clothes": settings.clothes} if variant == _CLOTH else {}


def _require_no_clothes(variant: str, settings: Settings) -> None:
    if settings.clothes != "all":
        raise SettingError(
            f"clothes is {settings.clothes!r}, but {variant} has one class; leave it out, or take u2net-cloth"
        )


def _clothing(graph: Graph, logits: str, clothes: str) -> str:
    """The probability of these clothes."""
    classes = [place for place, name in enumerate(CLOTHES, 1) if clothes in ("all", name)]
    probabilities = graph.add("Softmax", [logits], axis=1)
    if len(classes) < len(CLOTHES):
        return graph.add("Gather", [probabilities, graph.add_constant(np.array(classes, np.int64))], axis=1)
    background = graph.add("Gather", [probabilities, graph.add_constant(np.array([0], np.int64))], axis=1)
    return graph.add("Sub", [graph.add_constant(np.array(1, np.float32)), background])


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _variant(graph: Graph, fusion: NodeProto) -> str:
    if _classes(graph, fusion) > 1:
        return _CLOTH
    widest = max(graph.constants[node.input[1]].shape[0] for node in graph.all("Conv"))
    return _VARIANTS.get(widest, "custom")


def _fusion(graph: Graph) -> NodeProto:
    """The convolution that fuses the six side maps."""
    fusions = [node for node in graph.all("Conv") if _classes(graph, node)]
    sides = {len(_joined(graph, node)) for node in fusions}
    if sides != {_SIDES}:
        found = ", ".join(map(str, sorted(sides))) or "no"
        raise ModelError(f"this looks like U-2-Net, but fuses {found} side maps; expected {_SIDES}")
    return fusions[-1]


def _fused(graph: Graph) -> str:
    """d0: the sigmoid of the fusion."""
    for name in graph.outputs:
        sigmoid = graph.up(name, "Sigmoid")
        fusion = None if sigmoid is None else graph.up(sigmoid.input[0], "Conv")
        if fusion is not None and _classes(graph, fusion):
            return str(name)
    given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
    raise ModelError(
        f"this looks like U-2-Net, but the sigmoid of its fused side maps (d0) is none of its outputs ({given}); "
        "export it with d0 among them"
    )


def _classes(graph: Graph, node: NodeProto) -> int:
    """The classes of a network that ends with this convolution of 1x1, of as many maps of each class as are joined.

    0 for any other node. Networks of one class and of clothing, four, are known.
    """
    weights = graph.constant(node.input[1])
    count = len(_joined(graph, node))
    if weights is None or weights.ndim != 4 or count < _FEWEST_SIDES:
        return 0
    classes = int(weights.shape[0])
    return classes if classes in (1, 1 + len(CLOTHES)) and weights.shape == (classes, count * classes, 1, 1) else 0


def _joined(graph: Graph, node: NodeProto) -> list[str]:
    concat = graph.up(node.input[0], "Concat")
    return [] if concat is None else list(concat.input)
