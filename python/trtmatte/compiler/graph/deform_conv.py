"""ONNX's DeformConv as what every backend runs: GridSample for the taps of a row of the kernel, and a convolution."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from trtmatte.compiler.graph.onnx_graph import Array, Graph
from trtmatte.compiler.graph.specialise import infer_shapes, static_shape
from trtmatte.errors import ModelError

__all__ = ["rewrite"]


def rewrite(graph: Graph) -> None:
    """Replace every DeformConv of a graph whose shapes are known. In place."""
    infer_shapes(graph)
    for node in graph.all("DeformConv"):
        _replace(graph, node)
    graph.prune()
    infer_shapes(graph)


def _replace(graph: Graph, node: NodeProto) -> None:
    x, kernel, offset, bias, mask = node.input
    weights, shape = graph.constants.get(kernel), static_shape(graph, mask)
    if weights is None or shape is None:
        raise ModelError("a DeformConv has weights that are computed or a size that is not known; export it again")
    outputs, inputs, tall, wide = weights.shape
    batch, taps, height, width = shape

    def shaped(name: str, *sizes: int) -> str:
        return graph.add("Reshape", [name, graph.add_constant(np.array(sizes, np.int64), "shape")])

    def rows(name: str, axis: int, start: int, count: int) -> str:
        numbers = (graph.add_constant(np.array([each], np.int64), "place") for each in (start, start + count, axis))
        return graph.add("Slice", [name, *numbers])

    steps = graph.add_constant(np.array([2 / height, 2 / width], np.float32).reshape(1, 1, 2, 1, 1), "steps")
    places = graph.add_constant(_places(tall, wide, height, width), "places")
    grid = graph.add("Add", [graph.add("Mul", [shaped(offset, batch, taps, 2, height, width), steps]), places])
    grid = graph.add("Transpose", [grid], perm=[0, 1, 3, 4, 2])
    grid = graph.add("Gather", [grid, graph.add_constant(np.array([1, 0], np.int64), "swap")], axis=4)
    mask = shaped(mask, batch, 1, taps * height, width)
    total = ""
    for row in range(tall):
        where = shaped(rows(grid, 1, row * wide, wide), batch, wide * height, width, 2)
        mode = "bilinear" if graph.opset < 20 else "linear"
        read = graph.add("GridSample", [x, where], align_corners=0, mode=mode, padding_mode="zeros")
        read = graph.add("Mul", [read, rows(mask, 2, row * wide * height, wide * height)])
        taken = np.ascontiguousarray(weights[:, :, row, :, None])
        given = [graph.add_constant(taken, "kernel"), *([bias] if row == 0 and bias else [])]
        part = graph.add("Conv", [shaped(read, batch, inputs, wide, height * width), *given])
        total = graph.add("Add", [total, part]) if total else part
    graph.nodes.remove(node)
    final = graph.add_constant(np.array([batch, outputs, height, width], np.int64), "shape")
    graph.add("Reshape", [total, final], node.output[0])


def _places(tall: int, wide: int, height: int, width: int) -> Array:
    """Where the taps read without an offset, in the picture from -1 to 1: [1,taps,2,height,width]."""
    row, column = np.divmod(np.arange(tall * wide), wide)
    down = np.arange(height) + (row - tall // 2)[:, None]
    across = np.arange(width) + (column - wide // 2)[:, None]
    places = np.empty((1, tall * wide, 2, height, width), np.float32)
    places[0, :, 0] = ((2 * down + 1) / height - 1)[:, :, None]
    places[0, :, 1] = ((2 * across + 1) / width - 1)[:, None, :]
    return places
