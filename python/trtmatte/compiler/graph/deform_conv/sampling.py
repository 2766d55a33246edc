"""DeformConv as GridSample and 1x1 convolutions, which every library runs.

GridSample reads the picture at the positions of some taps, one tap below the other in a tall picture, which is then
multiplied by the mask. Its rows reshaped to channels are what a 1x1 convolution with these taps of the weights reads.
The taps are done in pieces, whose results are added: all at once, a 7x7 kernel over 64 maps of 256x256 would need
822 MB.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto

from trtmatte.compiler.graph.deform_conv.node import KIND, Deformation, deformation, has_deform_conv
from trtmatte.compiler.graph.onnx_graph import Array, Graph
from trtmatte.compiler.graph.specialise import static_shape

__all__ = ["sampled"]

LARGEST_PIECE: Final = 128 << 20
"""Bytes of sampled values that are held at once, if one tap has not more."""

_LINEAR_FROM: Final = 20  # the opset in which GridSample's mode "bilinear" became "linear"


def sampled(model: ModelProto) -> ModelProto:
    """The model with each DeformConv in this form; the model itself if it has none whose shapes are known."""
    if not has_deform_conv(model):
        return model
    graph = Graph(model)
    replaced = [node for node in graph.all(KIND) if _replaced(graph, node)]
    if not replaced:
        return model
    graph.prune()
    for node in graph.nodes:
        node.name = node.name or graph.fresh(node.op_type.lower())  # ONNX Runtime 1.20 gives those without one name
    changed = graph.model(name=model.graph.name)
    changed.metadata_props.extend(model.metadata_props)
    return changed


class _Shapes(NamedTuple):
    batch: int
    channels: int
    height: int
    width: int
    rows: int  # of the result
    columns: int
    taps: int


def _replaced(graph: Graph, node: NodeProto) -> bool:
    form, weights = deformation(graph, node), graph.constant(node.input[1])
    picture, offset = static_shape(graph, node.input[0]), static_shape(graph, node.input[2])
    if form is None or weights is None or picture is None or offset is None or len(picture) != 4 or len(offset) != 4:
        return False
    batch, channels, height, width = picture
    shapes = _Shapes(batch, channels, height, width, offset[2], offset[3], math.prod(form.kernel))
    graph.nodes = [each for each in graph.nodes if each is not node]
    graph.changed()
    _write(graph, form, shapes, weights, node.output[0])
    return True


def _write(graph: Graph, form: Deformation, shapes: _Shapes, weights: Array, output: str) -> None:
    """Add the nodes. Each group of offsets samples its own channels, as one image of the batch."""
    batch, channels, height, width, rows, columns, taps = shapes
    images = batch * form.offset_group
    picture = form.picture
    if form.offset_group > 1:
        picture = _reshaped(graph, picture, images, channels // form.offset_group, height, width)
    grid = _grid(graph, form, shapes)
    mask = _reshaped(graph, form.mask, images, 1, taps * rows, columns) if form.mask else ""
    mode = "bilinear" if graph.opset < _LINEAR_FROM else "linear"
    total = ""
    for first, last in _pieces(shapes):
        here, factors = grid, mask
        if last - first < taps:
            here = _sliced(graph, grid, 1, first * rows, last * rows)
            factors = _sliced(graph, mask, 2, first * rows, last * rows) if mask else ""
        values = graph.add("GridSample", [picture, here], mode=mode, padding_mode="zeros", align_corners=0)
        values = graph.add("Mul", [values, factors]) if factors else values
        values = _reshaped(graph, values, batch, channels * (last - first), rows, columns)
        kernel = weights.reshape(*weights.shape[:2], taps)[:, :, first:last]
        kernel = np.ascontiguousarray(kernel.reshape(weights.shape[0], -1, 1, 1))
        bias = [form.bias] if form.bias and not total else []
        inputs = [values, graph.add_constant(kernel, "kernel"), *bias]
        final = [output] if last == taps else []
        if total:
            total = graph.add("Add", [total, graph.add("Conv", inputs, group=form.group)], *final)
        else:
            total = graph.add("Conv", inputs, *final, group=form.group)


def _pieces(shapes: _Shapes) -> Iterator[tuple[int, int]]:
    """The first tap and the one after the last of each piece, as even as possible."""
    one = 4 * shapes.batch * shapes.channels * shapes.rows * shapes.columns
    count = math.ceil(shapes.taps / max(1, LARGEST_PIECE // one))
    bounds = [shapes.taps * piece // count for piece in range(count + 1)]
    return itertools.pairwise(bounds)


def _grid(graph: Graph, form: Deformation, shapes: _Shapes) -> str:
    """The positions in GridSample's terms: -1 is the first edge of the picture, 1 the last; across comes first."""
    batch, _, height, width, rows, columns, taps = shapes
    images = batch * form.offset_group
    offset = _reshaped(graph, form.offset, images, taps, 2, rows, columns)
    sides = [graph.fresh("offset") for _ in range(2)]
    graph.add("Split", [offset, graph.add_constant(np.array([1, 1], np.int64), "sizes")], *sides, axis=2)
    places = []
    for axis, (side, size) in enumerate(zip(sides, (height, width), strict=True)):
        usual = _usual(form, axis, (rows, columns))  # in pixels
        start = graph.add_constant(((2 * usual + 1) / size - 1).astype(np.float32), "places")
        scale = graph.add_constant(np.array(2 / size, np.float32), "scale")
        place = graph.add("Add", [graph.add("Mul", [side, scale]), start])
        places.append(_reshaped(graph, place, images, taps * rows, columns, 1))
    return graph.add("Concat", places[::-1], axis=3)


def _usual(form: Deformation, axis: int, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The positions without offsets along one axis, to be broadcast to [images, taps, 1, rows, columns]."""
    taps = np.arange(math.prod(form.kernel), dtype=np.float64)
    steps = taps // form.kernel[1] if axis == 0 else taps % form.kernel[1]
    outputs = np.arange(size[axis], dtype=np.float64) * form.strides[axis] - form.pads[axis]
    outputs = outputs[:, None] if axis == 0 else outputs[None, :]
    usual: np.ndarray[Any, np.dtype[np.float64]] = steps[:, None, None, None] * form.dilations[axis] + outputs
    return usual


def _reshaped(graph: Graph, name: str, *shape: int) -> str:
    return graph.add("Reshape", [name, graph.add_constant(np.array(shape, np.int64), "shape")])


def _sliced(graph: Graph, name: str, axis: int, first: int, last: int) -> str:
    numbers = [graph.add_constant(np.array([each], np.int64), "bounds") for each in (first, last, axis)]
    return graph.add("Slice", [name, *numbers])
