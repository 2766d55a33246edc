"""Convolutions that follow one another without an activation between become fewer and narrower ones.

Only convolutions of 1x1 move: past a concatenation, of which each part then has its own; past a linear resize, where
they meet fewer pixels; and into the convolution before them. What is left of two of 3x3 becomes one of 5x5 if that is
less work. All of it is exact but for the order of summation.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from onnx import NodeProto

from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes
from trtmatte.compiler.graph.specialise import infer_shapes, static_shape

__all__ = ["join_linear"]

_SMALL: Final = (1, 1)


def join_linear(graph: Graph) -> None:
    """Join what can be joined, for a graph whose shapes are known. In place."""
    moved = True
    while moved:
        infer_shapes(graph)
        moved = any(_moved(graph, node) for node in graph.all("Conv") if _kernel(graph, node) == _SMALL)
        graph.prune()
    infer_shapes(graph)
    for node in graph.all("Conv"):
        _join_squares(graph, node)
    graph.prune()
    infer_shapes(graph)


def _moved(graph: Graph, node: NodeProto) -> bool:
    """Move a convolution of 1x1 by one step, if that is of use."""
    before = graph.producer(node.input[0])
    if before is None or not _is_plain(graph, node) or len(graph.consumers(before.output[0])) > 1:
        return False
    if before.output[0] in graph.outputs:
        return False
    if before.op_type == "Concat":
        return _past_concatenation(graph, node, before)
    if before.op_type == "Resize":
        return _past_resize(graph, node, before)
    return before.op_type == "Conv" and _into_convolution(graph, node, before)


def _past_concatenation(graph: Graph, node: NodeProto, joined: NodeProto) -> bool:
    """A sum of convolutions, if one of them can move on or is of one pixel that was repeated."""
    shapes = [static_shape(graph, name) for name in joined.input]
    if attributes(joined)["axis"] not in (1, -3) or any(shape is None for shape in shapes):
        return False
    pixels = [_the_pixel(graph, name) for name in joined.input]
    weights = _weights(graph, node)
    movable = [
        each is not None and _can_move_on(graph, each, weights.shape[0]) for each in map(graph.producer, joined.input)
    ]
    if all(pixel is not None for pixel in pixels) or not (any(movable) or any(pixel is not None for pixel in pixels)):
        return False
    terms, start, bias = [], 0, list(node.input[2:])
    for name, pixel, shape in zip(joined.input, pixels, shapes, strict=True):
        assert shape is not None
        part = graph.add_constant(np.ascontiguousarray(weights[:, start : start + shape[1]]), "kernel")
        terms.append(graph.add("Conv", [pixel or name, part, *bias], kernel_shape=_SMALL))
        start, bias = start + shape[1], []
    terms.sort(key=lambda term: graph.producer(term).input[0] in pixels)  # type: ignore[union-attr]
    total = terms.pop(0)
    for term in terms[:-1]:
        total = graph.add("Add", [total, term])
    graph.nodes.remove(node)
    graph.add("Add", [total, terms[-1]], node.output[0])
    return True


def _can_move_on(graph: Graph, part: NodeProto, outputs: int) -> bool:
    """Report if a convolution of 1x1 to so many channels gains by moving past the node."""
    if len(graph.consumers(part.output[0])) > 1 or part.output[0] in graph.outputs:
        return False
    if part.op_type == "Conv":
        return _saves(_weights(graph, part), outputs) if _has_weights(graph, part) else False
    return part.op_type == "Resize" and _shrinks(graph, part, outputs)


def _past_resize(graph: Graph, node: NodeProto, resize: NodeProto) -> bool:
    if not _shrinks(graph, resize, _weights(graph, node).shape[0]):
        return False
    small = graph.add("Conv", [resize.input[0], *node.input[1:]], kernel_shape=_SMALL)
    given = [small, *resize.input[1:]]
    sizes = graph.constant(given[3]) if len(given) > 3 else None
    if sizes is not None and sizes.size == 4:  # which names the channels
        narrow = np.array([sizes[0], _weights(graph, node).shape[0], *sizes[2:]], sizes.dtype)
        given[3] = graph.add_constant(narrow, "sizes")
    graph.nodes.remove(node)
    graph.add("Resize", given, node.output[0], **attributes(resize))
    return True


def _shrinks(graph: Graph, resize: NodeProto, outputs: int) -> bool:
    """Report if a linear resize makes more pixels, of more channels than `outputs`."""
    before, after = static_shape(graph, resize.input[0]), static_shape(graph, resize.output[0])
    if before is None or after is None or len(before) != 4 or attributes(resize).get("mode") != "linear":
        return False
    if _crops(resize):
        return False
    enlarges = all(small <= large for small, large in zip(before[2:], after[2:], strict=True))
    return bool(outputs < before[1] == after[1] and enlarges)


def _into_convolution(graph: Graph, node: NodeProto, before: NodeProto) -> bool:
    if not _has_weights(graph, before) or not _saves(_weights(graph, before), _weights(graph, node).shape[0]):
        return False
    second, first = _weights(graph, node)[:, :, 0, 0].astype(np.float64), _weights(graph, before).astype(np.float64)
    kernel = np.einsum("om,miyx->oiyx", second, first)
    bias = second @ _bias(graph, before) + _bias(graph, node)
    _replace(graph, node, before, kernel, bias, attributes(before))
    return True


def _saves(first: Array, outputs: int) -> bool:
    """Report if a convolution, and one of 1x1 to so many channels behind it, are less work as one."""
    between, inputs = first.shape[:2]
    taps = int(np.prod(first.shape[2:]))
    return bool(outputs * inputs * taps < between * inputs * taps + outputs * between)


def _join_squares(graph: Graph, node: NodeProto) -> None:
    """Two of 3x3 as one of 5x5.

    At the rim the second one reads zeros where the first one has no results, so the outermost rows and columns are
    still computed by both, from strips of three pixels.
    """
    before = graph.producer(node.input[0])
    if before is None or before.op_type != "Conv" or not (_is_square(graph, node) and _is_square(graph, before)):
        return
    if len(graph.consumers(before.output[0])) > 1 or before.output[0] in graph.outputs:
        return
    second, first = _weights(graph, node).astype(np.float64), _weights(graph, before).astype(np.float64)
    outputs, between, inputs = (*second.shape[:2], first.shape[1])
    shape = static_shape(graph, before.input[0])
    if shape is None or min(shape[2:]) < 5 or 25 * outputs * inputs * 2 > 9 * between * (inputs + outputs):
        return
    kernel = np.zeros((outputs, inputs, 5, 5))
    for row in range(3):
        for column in range(3):
            taps = np.einsum("om,miyx->oiyx", second[:, :, row, column], first)
            kernel[:, :, row : row + 3, column : column + 3] += taps
    bias = second.sum((2, 3)) @ _bias(graph, before) + _bias(graph, node)
    picture, (height, width) = before.input[0], shape[2:]
    names = [graph.add_constant(array.astype(np.float32), "kernel") for array in (kernel, bias)]
    inner = graph.add("Conv", [picture, *names], kernel_shape=(5, 5), pads=(1, 1, 1, 1))

    def both(start: tuple[int, int], stop: tuple[int, int]) -> str:
        strip = _part(graph, picture, start, stop)
        middle = graph.add("Conv", [strip, *before.input[1:]], kernel_shape=(3, 3), pads=(1, 1, 1, 1))
        return graph.add("Conv", [middle, *node.input[1:]], kernel_shape=(3, 3), pads=(1, 1, 1, 1))

    left = _part(graph, both((0, 0), (height, 3)), (1, 0), (height - 1, 1))
    right = _part(graph, both((0, width - 3), (height, width)), (1, 2), (height - 1, 3))
    above = _part(graph, both((0, 0), (3, width)), (0, 0), (1, width))
    below = _part(graph, both((height - 3, 0), (height, width)), (2, 0), (3, width))
    middle = graph.add("Concat", [left, inner, right], axis=3)
    graph.nodes.remove(node)
    graph.add("Concat", [above, middle, below], node.output[0], axis=2)


def _part(graph: Graph, name: str, start: tuple[int, int], stop: tuple[int, int]) -> str:
    numbers = [graph.add_constant(np.array(each, np.int64), "place") for each in (start, stop, (2, 3))]
    return graph.add("Slice", [name, *numbers])


# ---------------------------------------------------------------------------------------------------------------------


def _the_pixel(graph: Graph, name: str) -> str | None:
    """The value of one pixel that is repeated over a picture."""
    node = graph.producer(name)
    if node is None or node.op_type not in ("Expand", "Resize") or _crops(node):
        return None
    before, after = static_shape(graph, node.input[0]), static_shape(graph, name)
    if before is None or after is None or len(before) != 4 or before[2:] != (1, 1) or after[2:] == (1, 1):
        return None
    return str(node.input[0]) if before[:2] == after[:2] else None


def _crops(node: NodeProto) -> bool:
    """Report if a resize may read outside of its picture, where it does not repeat it."""
    return bool(attributes(node).get("coordinate_transformation_mode") == "tf_crop_and_resize")


def _is_plain(graph: Graph, node: NodeProto) -> bool:
    """Report if a convolution does nothing but weigh what it reads."""
    settings = attributes(node)
    return (
        _has_weights(graph, node)
        and not any(settings.get("pads", ()))
        and settings.get("auto_pad", "NOTSET") == "NOTSET"
        and set(settings.get("strides", (1,))) == {1}
    )


def _is_square(graph: Graph, node: NodeProto) -> bool:
    """Report if a convolution is one of 3x3 that keeps the size."""
    settings = attributes(node)
    return (
        _has_weights(graph, node)
        and _kernel(graph, node) == (3, 3)
        and list(settings.get("pads", ())) == [1, 1, 1, 1]
        and set(settings.get("strides", (1,))) == set(settings.get("dilations", (1,))) == {1}
    )


def _has_weights(graph: Graph, node: NodeProto) -> bool:
    given = [graph.constants.get(name) for name in node.input[1:] if name]
    return (
        all(array is not None and array.dtype == np.float32 for array in given)
        and attributes(node).get("group", 1) == 1
        and graph.constants[node.input[1]].ndim == 4
    )


def _kernel(graph: Graph, node: NodeProto) -> tuple[int, ...]:
    weights = graph.constants.get(node.input[1])
    return () if weights is None else weights.shape[2:]


def _weights(graph: Graph, node: NodeProto) -> Array:
    return graph.constants[node.input[1]]


def _bias(graph: Graph, node: NodeProto) -> Array:
    if len(node.input) < 3:
        return np.zeros(_weights(graph, node).shape[0])
    return graph.constants[node.input[2]].astype(np.float64)


def _replace(
    graph: Graph, node: NodeProto, before: NodeProto, kernel: Array, bias: Array, settings: dict[str, object]
) -> None:
    """Put one convolution in the place of two."""
    names = [graph.add_constant(array.astype(np.float32), "kernel") for array in (kernel, bias)]
    graph.nodes.remove(node)
    graph.add("Conv", [before.input[0], *names], node.output[0], **settings)
