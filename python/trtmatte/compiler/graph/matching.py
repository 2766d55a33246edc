"""Matching: find parts of a graph by their function, never by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import NodeProto

from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes, shape_of
from trtmatte.errors import ModelError


class Part(NamedTuple):
    """Channels `start` to `stop` of a value; `stop` is None for the end."""

    source: str
    start: int
    stop: int | None


def channels(graph: Graph, name: str) -> Part | None:
    """The value and the channels that a Split or a Slice took a value from."""
    node = graph.up(name, "Split", "Slice")
    if node is None:
        return None
    settings = attributes(node)
    if node.op_type == "Split":
        sizes = argument(graph, node, 1, "split")
        if sizes is None or settings.get("axis", 0) not in (1, -3):
            return None
        place = list(node.output).index(graph.origin(name))
        start = int(sum(sizes[:place]))
        return Part(node.input[0], start, start + int(sizes[place]))
    starts, ends, axes, steps = (_numbers(graph, node, index) for index in (1, 2, 3, 4))
    if starts is None or ends is None or len(starts) != 1 or axes not in ([1], [-3]) or steps not in (None, [1]):
        return None
    return Part(node.input[0], starts[0], ends[0] if ends[0] < 1 << 20 else None)


def argument(graph: Graph, node: NodeProto, index: int, name: str) -> Sequence[int] | None:
    """A list of numbers that older opsets keep in an attribute and newer ones in an input."""
    value = attributes(node).get(name)
    return value if value is not None else _numbers(graph, node, index)


def clamped(graph: Graph, name: str) -> str | None:
    """The value before its clamp to 0…1."""
    node = graph.up(name, "Clip")
    if node is None:
        return None
    settings = attributes(node)
    low = settings.get("min", _scalar(graph, node, 1))
    high = settings.get("max", _scalar(graph, node, 2))
    return node.input[0] if (low, high) == (0, 1) else None


def resized(graph: Graph, name: str) -> str:
    """The value before a bilinear resize; the value itself if it is not resized."""
    node = graph.up(name, "Resize", "Upsample")
    return node.input[0] if node is not None and is_bilinear(node) else name


def is_bilinear(node: NodeProto) -> bool:
    """Linear with pixel centres at halves; the two modes differ only for results of one pixel."""
    settings = attributes(node)
    mode = settings.get("coordinate_transformation_mode", "half_pixel")
    return settings.get("mode") == "linear" and mode in ("half_pixel", "pytorch_half_pixel")


def scales(graph: Graph, node: NodeProto) -> Array | None:
    """The constant factors of a Resize, if it has any."""
    return graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None


def sizes(graph: Graph, node: NodeProto) -> Array | None:
    """The constant sizes of a Resize, if it has any."""
    return graph.constant(node.input[3]) if len(node.input) > 3 else None


def pictures(graph: Graph) -> list[str]:
    """The inputs that can be pictures: four dimensions, three channels or an unknown number."""
    found = []
    for name, value in graph.inputs.items():
        shape = [each.dim_value for each in value.type.tensor_type.shape.dim]
        if len(shape) == 4 and shape[1] in (0, 3) and not 0 < shape[2] < 4:
            found.append(name)
    return found


def require_size(graph: Graph, picture: str, size: tuple[int, int], batch: int) -> None:
    """Refuse a file that was exported for another fixed size."""
    wanted = (batch, 3, size[1], size[0])
    shape = shape_of(graph.inputs[picture]) or wanted
    if any(isinstance(has, int) and has != wants for has, wants in zip(shape, wanted, strict=True)):
        batches, _, height, width = (
            has if isinstance(has, int) else asks for has, asks in zip(shape, wanted, strict=True)
        )
        raise ModelError(
            f"the input {picture} has the fixed shape {list(shape)}, but frames are {list(wanted)} (batch, channels, "
            f"height, width); build an engine of size {width}x{height} and batch {batches}, or export the model with "
            "dynamic axes"
        )


def describe(graph: Graph, name: str) -> str:
    """The origin of a value, for messages."""
    name = graph.origin(name)
    node = graph.producer(name)
    if node is not None:
        return f"the result of {node.op_type} ({name})"
    return f"the input {name}" if name in graph.inputs else f"the constant {name}"


def _numbers(graph: Graph, node: NodeProto, index: int) -> list[int] | None:
    array = graph.constant(node.input[index]) if index < len(node.input) else None
    return None if array is None else [int(each) for each in np.ravel(array)]


def _scalar(graph: Graph, node: NodeProto, index: int) -> float | None:
    array = graph.constant(node.input[index]) if index < len(node.input) else None
    return None if array is None or array.size != 1 else float(array.ravel()[0])


def is_map(graph: Graph, name: str, channels: int) -> bool:
    """Report if a value, resized or not, is what a convolution to so many channels makes."""
    resize = graph.up(name, "Resize")
    head = graph.up(name if resize is None else resize.input[0], "Conv")
    weights = None if head is None else graph.constant(head.input[1])
    return weights is not None and weights.shape[0] == channels
