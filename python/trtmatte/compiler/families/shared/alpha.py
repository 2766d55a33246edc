"""Families whose network makes an alpha of one picture: FrameSample → network → ForegroundEstimate → MatteUpsample.

The network sees the frame at a size of its own and gives a small alpha. The foreground's colours are estimated from the
frame and the alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from onnx import ModelProto, ValueInfoProto

from trtmatte.compiler.families.shared.refining import linear_alpha
from trtmatte.compiler.families.shared.settings import Refinement
from trtmatte.compiler.families.shared.sizes import METHODS, Size, size_text
from trtmatte.compiler.graph.matching import pictures
from trtmatte.compiler.graph.matte_graph import Spec, add_estimate, add_matte, add_picture, add_sample, assemble
from trtmatte.compiler.graph.onnx_graph import Graph, attributes, shape_of
from trtmatte.compiler.graph.specialise import infer_shapes, specialise, static_shape
from trtmatte.errors import ModelError, SettingError
from trtmatte.format.stages import FRAME

IMAGE: Final = "image"
ALPHA: Final = "alpha"
COLOURS: Final = "colours"
_PLAIN: Final = Refinement()

_IMAGE_BY_IMAGE: Final = {
    *("Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "Resize"),
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
    *("Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool", "GlobalAveragePool"),
}
"""The operators that treat every image of a batch alike. Only the sizes of `Resize` can state the batch."""


class Preparation(NamedTuple):
    """The preparation of a network's picture: its width and height, the sampling method, and the normalisation."""

    size: Size
    method: str
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)


def complete(
    graph: Graph, described: Spec, preparation: Preparation, way_back: str, refinement: Refinement = _PLAIN
) -> ModelProto:
    """Puts the ops around a network from `IMAGE` to `ALPHA`; `way_back` is how the alpha becomes the frame's size.

    With `refinement`, that is a linear function of the frame's colours instead of a resized alpha.
    """
    described = replace(described, settings={**described.settings, **refinement.facts})
    graph.inputs.clear()
    add_picture(graph, FRAME, described)
    add_sample(
        graph,
        FRAME,
        IMAGE,
        described,
        preparation.size,
        method=METHODS[preparation.method],
        mean=preparation.mean,
        std=preparation.std,
    )
    graph.outputs = {ALPHA: ValueInfoProto(name=ALPHA)}
    specialise(graph, {})
    alpha = ALPHA
    if refinement.refine:
        alpha, way_back = linear_alpha(graph, IMAGE, ALPHA, preparation.mean, preparation.std, refinement), "linear"
        graph.outputs = {alpha: ValueInfoProto(name=alpha)}
        infer_shapes(graph)
    graph.outputs.clear()
    add_estimate(graph, alpha, COLOURS, described)
    add_matte(graph, "MatteUpsample", [FRAME, alpha, COLOURS], described, method=METHODS[way_back])
    return assemble(graph, described)


# ---------------------------------------------------------------------------------------------------------------------
# The network of an ONNX file


def the_picture(graph: Graph, family: str) -> str:
    """The only input, which must be a picture."""
    found = pictures(graph)
    if len(found) == 1 and len(graph.inputs) == 1:
        return found[0]
    raise ModelError(
        f"{family} takes one picture, batch x 3 x height x width; this ONNX model has the inputs "
        f"{', '.join(f'{name} {_shape_text(graph, name)}' for name in graph.inputs) or 'none'}"
    )


def network_size(graph: Graph, picture: str, asked: Size | None) -> Size | None:
    """The size that a file is fixed to, or the one asked for; None where neither says it."""
    shape = shape_of(graph.inputs[picture])
    height, width = shape[2:] if shape else (None, None)
    for name, fixed, wanted in zip(("width", "height"), (width, height), asked or (), strict=False):
        if isinstance(fixed, int) and fixed != wanted:
            raise SettingError(
                f"input_size is {size_text(asked)}, but this ONNX file takes pictures of {name} {fixed} alone; leave "
                "the setting out, or export the model with dynamic axes"
            )
    if asked is None and isinstance(width, int) and isinstance(height, int):
        return width, height
    return asked


def isolate(graph: Graph, picture: str, alpha: str, size: Size, batch: int) -> None:
    """Leaves what lies between the picture and the alpha, for pictures of this size, as `IMAGE` and `ALPHA`."""
    shape = shape_of(graph.inputs[picture])
    graph.outputs = {alpha: ValueInfoProto(name=alpha)}
    graph.prune()
    is_foreign = shape is not None and isinstance(shape[0], int) and shape[0] != batch
    if is_foreign:
        _restate_batch(graph, batch)
    specialise(graph, {picture: [batch, 3, size[1], size[0]]})
    if is_foreign:
        _require_image_by_image(graph, batch)
    graph.rename(picture, IMAGE)
    graph.rename(next(iter(graph.outputs)), ALPHA)
    made = static_shape(graph, ALPHA) or ()
    if len(made) != 4 or made[:2] != (batch, 1):
        raise ModelError(
            f"the alpha of this ONNX model is {list(made) or 'of unknown shape'} for {batch} pictures of "
            f"{size_text(size)}; expected [{batch}, 1, height, width]"
        )


def _restate_batch(graph: Graph, batch: int) -> None:
    """Resizes of a file that was exported for another batch state that one among their sizes."""
    for node in graph.all("Resize"):
        sizes = graph.constant(node.input[3]) if len(node.input) > 3 else None
        if sizes is not None and sizes.size == 4:
            node.input[3] = graph.add_constant(np.array([batch, *sizes[1:]], sizes.dtype), "sizes")
    graph.changed()


def _require_image_by_image(graph: Graph, batch: int) -> None:
    """Refuses what might have the batch that a file was exported for written into it."""
    others = {node.op_type for node in graph.nodes if node.op_type not in _IMAGE_BY_IMAGE}
    others -= {node.op_type for node in graph.all("Concat") if attributes(node)["axis"] in (1, -3)}
    if others:
        raise ModelError(
            f"this ONNX model was exported for another batch than {batch}, which {', '.join(sorted(others))} in it may "
            "depend on; build for the batch of the file, or export it with a dynamic batch"
        )


def _shape_text(graph: Graph, name: str) -> str:
    shape = shape_of(graph.inputs[name])
    return "of unknown rank" if shape is None else "x".join(str(each or "?") for each in shape)
