"""Families whose network makes an alpha of one picture: FrameSample → network → MatteUpsample.

The network sees the frame at a size of its own and gives a small alpha; the foreground's colours are the frame's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from onnx import ModelProto, ValueInfoProto

from trtmatte.errors import ModelError, SettingError
from trtmatte.graph.graph import Graph, shape_of
from trtmatte.graph.matching import pictures
from trtmatte.graph.matting import Spec, add_matte, add_picture, add_sample, assemble
from trtmatte.graph.specialise import specialise, static_shape
from trtmatte.program import FRAME

IMAGE: Final = "image"
ALPHA: Final = "alpha"
METHODS: Final = ("linear", "area", "antialias")  # their numbers in the ops' attributes are their places

Size = tuple[int, int]


class Preparation(NamedTuple):
    """What the network sees of a frame: its width and height, how they are reached, and how values are normalised."""

    size: Size
    method: str
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)


def complete(graph: Graph, described: Spec, preparation: Preparation, way_back: str) -> ModelProto:
    """Puts the ops around a network from `IMAGE` to `ALPHA`; `way_back` is how the alpha becomes the frame's size."""
    graph.inputs.clear()
    add_picture(graph, FRAME, described)
    add_sample(
        graph,
        FRAME,
        IMAGE,
        described,
        preparation.size,
        method=METHODS.index(preparation.method),
        mean=preparation.mean,
        std=preparation.std,
    )
    graph.outputs = {ALPHA: ValueInfoProto(name=ALPHA)}
    specialise(graph, {})
    graph.outputs.clear()
    add_matte(graph, "MatteUpsample", [FRAME, ALPHA], described, method=METHODS.index(way_back))
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
    graph.outputs = {alpha: ValueInfoProto(name=alpha)}
    graph.prune()
    _free_batch(graph, batch)
    specialise(graph, {picture: [batch, 3, size[1], size[0]]})
    graph.rename(picture, IMAGE)
    graph.rename(next(iter(graph.outputs)), ALPHA)
    shape = static_shape(graph, ALPHA) or ()
    if len(shape) != 4 or shape[:2] != (batch, 1):
        raise ModelError(
            f"the alpha of this ONNX model is {list(shape) or 'of unknown shape'} for {batch} pictures of "
            f"{size_text(size)}; expected [{batch}, 1, height, width]: build for the batch and size that the file was "
            "exported for, or export it with dynamic axes"
        )


def _free_batch(graph: Graph, batch: int) -> None:
    """Resizes of a file exported for one picture state the batch among their sizes."""
    for node in graph.all("Resize"):
        sizes = graph.constant(node.input[3]) if len(node.input) > 3 else None
        if sizes is not None and sizes.size == 4:
            sizes = sizes.copy()
            sizes[0] = batch
            node.input[3] = graph.add_constant(sizes, "sizes")
    graph.changed()


def _shape_text(graph: Graph, name: str) -> str:
    shape = shape_of(graph.inputs[name])
    return "of unknown rank" if shape is None else "x".join(str(each or "?") for each in shape)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


def checked_size(size: Sequence[int] | None, divisor: int = 1) -> Size | None:
    """The setting `input_size`: a width and a height that `divisor` divides, or None."""
    if size is None:
        return None
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(_is_side(side, divisor) for side in size):
        return size[0], size[1]
    wanted = f"multiples of {divisor}" if divisor > 1 else "whole numbers from 1"
    raise SettingError(f"input_size is {size!r}; expected a width and a height, {wanted}")


def _is_side(side: object, divisor: int) -> bool:
    return isinstance(side, int) and side >= 1 and side % divisor == 0


def size_text(size: Sequence[int] | None) -> str:
    return "not given" if size is None else "x".join(str(side) for side in size)
