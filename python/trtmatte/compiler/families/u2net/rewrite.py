"""U-2-Net, U-2-NetP and the U-2-Net for clothing as a trtmatte graph: FrameSample → network → MatteUpsample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import ModelProto, NodeProto

from trtmatte.compiler.families.shared.alpha import ALPHA, IMAGE, isolate, network_size, the_picture
from trtmatte.compiler.families.shared.contrast import complete_as_rembg
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.families.shared.sizes import Size, checked_size
from trtmatte.compiler.families.u2net.spec import CLOTHING_SIZE, GARMENTS, MEAN, NAME, SIZE, STD, Settings
from trtmatte.compiler.graph.matching import describe, is_map
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError, SettingError

if TYPE_CHECKING:
    from torch import nn

_SIDES: Final = 6
_FEWEST_SIDES: Final = 3  # from here on a fusion of the maps is a U-2-Net's, even if not one we know
_VARIANTS: Final = {512: "u2net", 64: "u2netp"}  # by the channels of the widest layer
_CLOTHING: Final = "u2net_cloth"
_CLASSES: Final = len(GARMENTS)  # of clothing: the background in the place of all garments


def resembles(graph: Graph) -> bool:
    """No other family fuses the maps of all its levels, which have a channel for each class."""
    return any(_is_fusion(graph, node) for node in graph.all("Conv"))


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file, with or without the side outputs d1 to d6."""
    picture = the_picture(graph, "U-2-Net")
    fused, classes = _fused(graph)
    asked = checked_size(settings.input_size)
    if classes == _CLASSES:
        seen = network_size(graph, picture, asked) or CLOTHING_SIZE
        isolate(graph, picture, _clothing(graph, fused, settings.garment), seen, batch)
        return _complete(graph, _CLOTHING, seen, size, batch, settings)
    seen = network_size(graph, picture, asked) or SIZE
    isolate(graph, picture, fused, seen, batch)
    widest = max(graph.constants[node.input[1]].shape[0] for node in graph.all("Conv"))
    return _complete(graph, _VARIANTS.get(widest, "custom"), seen, size, batch, settings)


def from_network(network: nn.Module, name: str, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    is_clothing = name == _CLOTHING
    seen = checked_size(settings.input_size) or (CLOTHING_SIZE if is_clothing else SIZE)
    shape = [batch, 3, seen[1], seen[0]]
    if not is_clothing:
        return _complete(export(network, "alpha", {IMAGE: shape}, [ALPHA]), name, seen, size, batch, settings)
    graph = export(network, "logits", {IMAGE: shape}, ["logits"])
    alpha = _clothing(graph, "logits", settings.garment)
    isolate(graph, IMAGE, alpha, seen, batch)
    return _complete(graph, name, seen, size, batch, settings)


def _complete(graph: Graph, variant: str, seen: Size, size: Size, batch: int, settings: Settings) -> ModelProto:
    described = Spec(NAME, variant, size, batch)
    if variant == _CLOTHING:
        settings = replace(settings, stretch=False)
        described = replace(described, settings={"garment": settings.garment})
    elif settings.garment != GARMENTS[0]:
        raise SettingError(
            f"garment is {settings.garment!r}, but this is no network for clothing; leave the setting out, or take "
            "u2net-cloth"
        )
    return complete_as_rembg(graph, described, seen, MEAN, STD, settings)


def _clothing(graph: Graph, logits: str, garment: str) -> str:
    """The probability of a garment; that of all is what the background leaves."""
    probabilities = graph.add("Softmax", [logits], axis=1)
    place = graph.add_constant(np.array([GARMENTS.index(garment)]), "place")
    one = graph.add("Gather", [probabilities, place], axis=1)
    if garment != GARMENTS[0]:
        return one
    return graph.add("Sub", [graph.add_constant(np.float32(1), "one"), one])


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _fused(graph: Graph) -> tuple[str, int]:
    """d0, the fusion of the six side maps, and its classes: of one class it is after its sigmoid."""
    fusions = [node for node in graph.all("Conv") if _is_fusion(graph, node)]
    sides = {len(_joined(graph, node)) for node in fusions}
    classes = {graph.constants[node.input[1]].shape[0] for node in fusions}
    if sides != {_SIDES}:
        found = ", ".join(map(str, sorted(sides))) or "no"
        raise ModelError(f"this looks like U-2-Net, but fuses {found} side maps; expected {_SIDES}")
    if classes not in ({1}, {_CLASSES}):
        found = ", ".join(map(str, sorted(classes)))
        raise ModelError(
            f"this looks like U-2-Net, but has {found} classes; expected 1, or {_CLASSES} of clothing: the background, "
            f"{', '.join(GARMENTS[1:])}"
        )
    for name in graph.outputs:
        sigmoid = graph.up(name, "Sigmoid")
        fusion = graph.up(name, "Conv") if sigmoid is None else graph.up(sigmoid.input[0], "Conv")
        if fusion is not None and _is_fusion(graph, fusion) and (sigmoid is None) == (classes != {1}):
            return str(name), classes.pop()
    given = ", ".join(f"{name}: {describe(graph, name)}" for name in graph.outputs)
    what = "the sigmoid of its fused side maps" if classes == {1} else "the fusion of its side maps"
    raise ModelError(
        f"this looks like U-2-Net, but {what} (d0) is none of its outputs ({given}); export it with d0 among them"
    )


def _is_fusion(graph: Graph, node: NodeProto) -> bool:
    """A convolution of 1x1 that makes as many channels as each of the maps has that are joined for it."""
    weights = graph.constant(node.input[1])
    count = len(_joined(graph, node))
    if weights is None or count < _FEWEST_SIDES or weights.shape[2:] != (1, 1):
        return False
    classes, channels = weights.shape[:2]
    return bool(channels == count * classes and all(is_map(graph, each, classes) for each in _joined(graph, node)))


def _joined(graph: Graph, node: NodeProto) -> list[str]:
    concat = graph.up(node.input[0], "Concat")
    return [] if concat is None else list(concat.input)
