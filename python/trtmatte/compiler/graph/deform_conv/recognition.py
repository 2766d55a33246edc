"""DeformConv from the operators into which exporters decompose it, before ONNX had it or runtimes ran it.

    picture ─ Pad with zeros ─ four gathers, of the pixels around each position ─ four products with their weights
    ─ sum ─ product with the mask ─ tiles of the kernel's size, of the taps of a position ─ Conv, from tile to tile

The positions are a constant plus the offsets, the pixels their floor and one more, clipped into the frame of zeros, and
the weights are made of what the floor took away. Each of these facts is checked; where one is missing, the operators
stay as they are. The gathers are GatherND of pixels or GatherElements of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from trtmatte.compiler.graph.deform_conv.node import Deformation, Pair
from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes
from trtmatte.compiler.graph.opset import DEFORM_CONV, raise_to
from trtmatte.compiler.graph.specialise import static_shape

__all__ = ["restored"]

_GATHERS: Final = {"GatherND", "GatherElements"}
_SUMS: Final = ("Mul", "Sum", "Add")  # the last step before the tiles
_RESHAPES: Final = ("Reshape", "Unsqueeze", "Squeeze", "Flatten")  # none changes the order of elements
_CORNERS: Final = {(0, 0), (0, 1), (1, 0), (1, 1)}
_DOWN, _ACROSS = 0, 1
_Names = tuple[str, str]
_BY_AXIS: Final = 3  # where the two coordinates lie in [batch, groups, taps, 2, rows, columns]


class _UnlikeError(Exception):
    """Something is not as in a decomposed DeformConv."""


class _Shapes(NamedTuple):
    """The shape of the sampled values: [batch, groups, channels of a group, taps, rows, columns]."""

    batch: int
    groups: int
    channels: int
    taps: int
    rows: int
    columns: int

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(self)

    @property
    def factors(self) -> tuple[int, ...]:
        return (self.batch, self.groups, 1, self.taps, self.rows, self.columns)

    @property
    def positions(self) -> tuple[int, ...]:
        return (self.batch, self.groups, self.taps, 2, self.rows, self.columns)

    @property
    def gathered(self) -> int:
        return self.taps * self.rows * self.columns


class _Corner(NamedTuple):
    """One of the four pixels around each position: 1 for the lower and for the right one."""

    picture: str  # in its frame of zeros
    positions: str
    sides: Pair


def restored(model: ModelProto) -> ModelProto:
    """The model with DeformConv in the place of its decomposed forms; the model itself where there are none."""
    if not any(node.op_type in _GATHERS for node in model.graph.node):
        return model
    graph = Graph(model)
    found = [(node, form) for node in graph.all("Conv") if (form := _recognised(graph, node)) is not None]
    if not found:
        return model
    raise_to(graph, DEFORM_CONV)
    gone = {id(node) for node, _ in found}
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]
    for node, form in found:
        form.add_to(graph, node.output[0])
    graph.prune()
    changed = graph.model(name=model.graph.name)
    changed.metadata_props.extend(model.metadata_props)
    return changed


def _recognised(graph: Graph, convolution: NodeProto) -> Deformation | None:
    try:
        return _form(graph, convolution)
    except (_UnlikeError, LookupError, ValueError):  # the last two: attributes or dimensions that it would have
        return None


def _require(condition: object) -> None:
    if not condition:
        raise _UnlikeError


def _form(graph: Graph, convolution: NodeProto) -> Deformation:
    kernel, group = _steps_by_tiles(graph, convolution)
    values, tiles = _values_of_tiles(graph, convolution.input[0], kernel)
    shapes = _Shapes(*_shape(graph, values))
    _require(shapes.taps == math.prod(kernel) and shapes.batch == tiles[0])
    _require(shapes.groups * shapes.channels == tiles[1] and (shapes.rows, shapes.columns) == tiles[2:])
    values, mask = _unmasked(graph, values, shapes)
    corners = [_corner(graph, term, shapes) for term in _terms(graph, values)]
    _require(len(corners) == len(_CORNERS) and {corner.sides for corner in corners} == _CORNERS)
    _require(len({(corner.picture, corner.positions) for corner in corners}) == 1)
    picture, frame = _unframed(graph, corners[0].picture, shapes)
    usual, offset = _offset(graph, corners[0].positions, shapes)
    size = _shape(graph, picture)[2:]
    strides, dilations, pads = _geometry(usual, kernel, frame, (size[0], size[1]), shapes)
    return Deformation(
        picture=picture,
        weights=convolution.input[1],
        offset=offset,
        bias=convolution.input[2] if len(convolution.input) > 2 else "",
        mask=mask,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
        offset_group=shapes.groups,
    )


# ---------------------------------------------------------------------------------------------------------------------
# From the convolution up to the gathers


def _steps_by_tiles(graph: Graph, convolution: NodeProto) -> tuple[Pair, int]:
    """The kernel's size and the groups of a convolution whose kernels stand side by side."""
    settings, weights = attributes(convolution), _shape(graph, convolution.input[1], 4)
    kernel = (weights[2], weights[3])
    _require(tuple(settings.get("strides", (1, 1))) == kernel and tuple(settings.get("dilations", (1, 1))) == (1, 1))
    _require(not any(settings.get("pads", ())) and settings.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"))
    return kernel, int(settings.get("group", 1))


def _values_of_tiles(graph: Graph, name: str, kernel: Pair) -> tuple[str, tuple[int, ...]]:
    """The values that are laid out in tiles, and [batch, channels, rows, columns] of the result."""
    batch, channels, height, width = _shape(graph, name, 4)
    rows, columns = height // kernel[0], width // kernel[1]
    _require((rows * kernel[0], columns * kernel[1]) == (height, width))
    for each in _same_elements(graph, name):
        node = graph.producer(each)
        if node is not None and node.op_type == "Transpose":
            _require(tuple(attributes(node)["perm"]) == (0, 1, 4, 2, 5, 3))
            _require(_shape(graph, node.input[0]) == (batch, channels, *kernel, rows, columns))
            name = node.input[0]
            break
    else:  # it would only move ones
        _require(kernel == (1, 1) or (rows, columns) == (1, 1))
    for each in _same_elements(graph, name):
        if len(_shape(graph, each)) == 6 and (node := graph.producer(each)) and node.op_type in _SUMS:
            return each, (batch, channels, rows, columns)
    raise _UnlikeError


def _unmasked(graph: Graph, values: str, shapes: _Shapes) -> tuple[str, str]:
    """The values before they are multiplied by the mask, and the mask; "" for none."""
    node = graph.producer(values)
    if node is None or node.op_type != "Mul":
        return values, ""
    full, factor = _full_and_factor(graph, node, shapes)
    return full, _at_shape(graph, factor, (shapes.batch, shapes.groups * shapes.taps, shapes.rows, shapes.columns))


def _terms(graph: Graph, name: str) -> list[str]:
    """The terms of a sum of four, however it is nested."""
    terms, pending = list[str](), [name]
    while pending:
        node = graph.producer(pending[-1])
        each = pending.pop()
        if node is not None and node.op_type in ("Sum", "Add"):
            pending += node.input
        else:
            terms.append(each)
        _require(len(terms) + len(pending) <= len(_CORNERS))
    return terms


def _corner(graph: Graph, term: str, shapes: _Shapes) -> _Corner:
    """One product of gathered pixels and their weights, which must be those of the same corner."""
    product = _made(graph, term, "Mul")
    values, factor = _full_and_factor(graph, product, shapes)
    picture, indices = _gathered(graph, values, shapes)
    _, _, height, width = _shape(graph, picture, 4)
    positions, down = _clipped(graph, indices[_DOWN], _DOWN, height)
    same, across = _clipped(graph, indices[_ACROSS], _ACROSS, width)
    _require(positions == same and _shape(graph, positions) == shapes.positions)
    factor = _at_shape(graph, factor, (shapes.batch, shapes.groups, shapes.taps, 1, shapes.rows, shapes.columns))
    parts = [_fraction(graph, part, positions) for part in _made(graph, factor, "Mul").input]
    _require(sorted(parts) == [(_DOWN, down), (_ACROSS, across)])
    return _Corner(picture, positions, (down, across))


def _full_and_factor(graph: Graph, product: NodeProto, shapes: _Shapes) -> tuple[str, str]:
    """Of the two sides of a product, the sampled values, and the factors that all channels of a group share."""
    for full, factor in (tuple(product.input), tuple(product.input)[::-1]):
        fit = (_shape(graph, full), _shape(graph, factor)) == (shapes.values, shapes.factors)
        if fit and _leads_to_gather(graph, full) and not _leads_to_gather(graph, factor):
            return full, factor
    raise _UnlikeError


def _leads_to_gather(graph: Graph, name: str) -> bool:
    """Tell values from factors, whose shapes are the same if a group has one channel."""
    pending, seen = [name], set[str]()
    while pending:
        node = graph.producer(pending.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in _GATHERS:
            return True
        if node.op_type in (*_RESHAPES, "Transpose", "Sum", "Add", "Mul"):
            pending += node.input
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Gathers


def _gathered(graph: Graph, values: str, shapes: _Shapes) -> tuple[str, _Names]:
    """The picture, [batch, channels, height, width], that values are gathered from, and the indices down and across."""
    for name in _same_elements(graph, values):
        node = graph.producer(name)
        if node is None:
            break
        if node.op_type == "GatherElements":
            return _of_rows(graph, node, shapes)
        if node.op_type == "GatherND":  # of pixels of one channel, whose transposition would only move ones
            _require(shapes.channels == 1)
            return _of_pixels(graph, node, shapes)
        if node.op_type == "Transpose":
            _require(_shape(graph, name) == (shapes.batch, shapes.groups, shapes.channels, shapes.gathered))
            _require(tuple(attributes(node)["perm"]) == (0, 1, 3, 2))
            pixels = (shapes.batch, shapes.groups, shapes.gathered, shapes.channels)
            return _of_pixels(graph, _made(graph, _at_shape(graph, node.input[0], pixels), "GatherND"), shapes)
    raise _UnlikeError


def _of_pixels(graph: Graph, gather: NodeProto, shapes: _Shapes) -> tuple[str, _Names]:
    """GatherND of all channels of a pixel at once."""
    _require(attributes(gather).get("batch_dims", 0) == 2)
    data, indices = gather.input
    _, _, height, width, _ = _shape(graph, data, 5)
    expected = (shapes.batch, shapes.groups, height, width, shapes.channels)
    _require(_shape(graph, data) == expected)
    node = graph.producer(data)
    if node is not None and node.op_type == "Transpose":
        _require(tuple(attributes(node)["perm"]) == (0, 1, 3, 4, 2))
        data = node.input[0]
    else:
        _require(shapes.channels == 1)
    joined = _made(graph, indices, "Concat")
    _require(_shape(graph, indices) == (shapes.batch, shapes.groups, shapes.gathered, 2))
    _require(attributes(joined)["axis"] in (3, -1) and len(joined.input) == 2)
    return _picture(graph, data, shapes, height, width), (joined.input[0], joined.input[1])


def _of_rows(graph: Graph, gather: NodeProto, shapes: _Shapes) -> tuple[str, _Names]:
    """GatherElements of pictures whose rows were joined, by `row * width + column`."""
    data, index = gather.input
    *_, length = expected = _shape(graph, data, 4)
    _require(expected[:3] == (shapes.batch, shapes.groups, shapes.channels))
    _require(attributes(gather).get("axis", 0) in (3, -1))
    _require(_shape(graph, index) == (*expected[:3], shapes.gathered))
    spread = graph.producer(index)
    if spread is not None and spread.op_type == "Expand":
        index = spread.input[0]
    _require(_shape(graph, index) == (shapes.batch, shapes.groups, 1, shapes.gathered))
    total = _made(graph, index, "Add")
    for row, column in (tuple(total.input), tuple(total.input)[::-1]):
        product = graph.producer(row)
        if product is None or product.op_type != "Mul":
            continue
        for down, factor in (tuple(product.input), tuple(product.input)[::-1]):
            width = graph.constants.get(factor)
            if width is not None and width.size == 1 and width.item() > 0 and length % width.item() == 0:
                height = length // width.item()
                return _picture(graph, data, shapes, height, int(width.item())), (down, column)
    raise _UnlikeError


def _picture(graph: Graph, data: str, shapes: _Shapes, height: int, width: int) -> str:
    return _at_shape(graph, data, (shapes.batch, shapes.groups * shapes.channels, height, width))


def _unframed(graph: Graph, framed: str, shapes: _Shapes) -> tuple[str, Pair]:
    """The picture without its frame of zeros, and the frame above and at the left. Clipped indices must lie in it."""
    node = _made(graph, framed, "Pad")
    frame = graph.constants.get(node.input[1])
    value = node.input[2] if len(node.input) > 2 else ""
    _require(attributes(node).get("mode", "constant") == "constant" and (not value or graph.is_constant(value, 0)))
    _require(frame is not None and frame.size == 8 and len(node.input) < 4)
    assert frame is not None
    widths = [int(each) for each in frame.ravel()]
    _require(not any(widths[index] for index in (0, 1, 4, 5)) and min(widths[index] for index in (2, 3, 6, 7)) >= 1)
    picture = node.input[0]
    _require(_shape(graph, picture, 4)[:2] == (shapes.batch, shapes.groups * shapes.channels))
    return picture, (widths[2], widths[3])


# ---------------------------------------------------------------------------------------------------------------------
# Positions


def _clipped(graph: Graph, index: str, axis: int, size: int) -> tuple[str, int]:
    """The positions whose floor an index is, and 1 if it is the one after; clipped to the picture."""
    node = _past_reshapes(graph, index)
    _require(node.op_type == "Clip" and len(node.input) == 3)
    _require(_whole(graph, node.input[1]) == 0 and _whole(graph, node.input[2]) == size - 1)
    before = node.input[0]
    inner = graph.producer(before)
    after = 0
    if inner is not None and inner.op_type == "Add":
        for one, other in (tuple(inner.input), tuple(inner.input)[::-1]):
            if _whole(graph, one) == 1:
                before, after = other, 1
    return _floored(graph, before, axis), after


def _floored(graph: Graph, name: str, axis: int) -> str:
    """The positions of which a value is the floor along one axis, as whole numbers."""
    rounded = _coordinate(graph, name, axis)
    cast = _made(graph, rounded, "Cast")
    _require(attributes(cast)["to"] in (TensorProto.INT32, TensorProto.INT64))
    return str(_made(graph, cast.input[0], "Floor").input[0])


def _fraction(graph: Graph, name: str, positions: str) -> tuple[int, int]:
    """The axis of a weight, and 1 if it grows with the distance from the floor, 0 if it is one less that."""
    node, grows = _made(graph, name, "Sub", "Slice"), 1
    if node.op_type == "Sub" and graph.is_constant(node.input[0], 1):
        node, grows = _made(graph, node.input[1], "Sub", "Slice"), 0
    _require(node.op_type == "Slice")
    for axis in (_DOWN, _ACROSS):
        try:
            rest = _made(graph, _coordinate(graph, node.output[0], axis), "Sub")
        except _UnlikeError:
            continue
        floor = _made(graph, rest.input[1], "Floor")
        _require(rest.input[0] == positions and floor.input[0] == positions)
        return axis, grows
    raise _UnlikeError


def _coordinate(graph: Graph, name: str, axis: int) -> str:
    """The value whose downward (0) or rightward (1) half this is."""
    node = _made(graph, name, "Slice")
    numbers = [graph.constants.get(each) for each in node.input[1:]]
    _require(all(each is not None and each.size == 1 for each in numbers) and len(numbers) in (3, 4))
    start, _, along, *step = [int(each.item()) for each in numbers if each is not None]
    rank = len(_shape(graph, node.input[0]))
    _require(rank == 6 and along % rank == _BY_AXIS and step in ([], [1]))
    _require(_shape(graph, node.input[0])[_BY_AXIS] == 2)
    _require(start % 2 == axis and -2 <= start < 2 and _shape(graph, name)[_BY_AXIS] == 1)
    return str(node.input[0])


def _offset(graph: Graph, positions: str, shapes: _Shapes) -> tuple[Array, str]:
    """The positions without offsets, [taps, 2, rows, columns] in the frame of zeros, and the offsets' name."""
    node = _made(graph, positions, "Add")
    for usual, moved in (tuple(node.input), tuple(node.input)[::-1]):
        array = graph.constants.get(usual)
        if array is None or moved in graph.constants:
            continue
        whole = np.broadcast_to(array, shapes.positions)
        _require(_shape(graph, moved) == shapes.positions and (whole == whole[:1, :1]).all())
        flat = (shapes.batch, 2 * shapes.groups * shapes.taps, shapes.rows, shapes.columns)
        return whole[0, 0], _at_shape(graph, moved, flat)
    raise _UnlikeError


def _geometry(
    usual: Array, kernel: Pair, frame: Pair, size: Pair, shapes: _Shapes
) -> tuple[Pair, Pair, tuple[int, int, int, int]]:
    """Strides, dilations and pads, with which DeformConv has the same positions."""
    taps = usual.reshape(*kernel, 2, shapes.rows, shapes.columns)
    down = _steps(taps[:, 0, _DOWN, :, 0], frame[0], size[0])
    across = _steps(taps[0, :, _ACROSS, 0, :], frame[1], size[1])
    _require((taps[:, :, _DOWN] == taps[:, :1, _DOWN, :, :1]).all())
    _require((taps[:, :, _ACROSS] == taps[:1, :, _ACROSS, :1]).all())
    strides, dilations, before, after = zip(down, across, strict=True)
    return strides, dilations, (*before, *after)


def _steps(places: Array, frame: int, size: int) -> tuple[int, int, int, int]:
    """Stride, dilation, and the pads before and after, along one axis. `places` are by the tap, then by the output."""
    taps, outputs = places.shape
    first = places[0, 0]
    stride = places[0, 1] - first if outputs > 1 else 1
    dilation = places[1, 0] - first if taps > 1 else 1
    _require(all(float(each).is_integer() for each in (first, stride, dilation)) and min(stride, dilation) >= 1)
    _require((places == first + np.arange(outputs) * stride + np.arange(taps)[:, None] * dilation).all())
    first, stride, dilation = int(first), int(stride), int(dilation)
    before, reach = frame - first, (taps - 1) * dilation + 1
    after = max(0, (outputs - 1) * stride + reach - size - before)
    # DeformConv has as many outputs as fit.
    room = before + size + after - reach
    _require(before >= 0 and room >= 0 and room // stride + 1 == outputs)
    return stride, dilation, before, after


# ---------------------------------------------------------------------------------------------------------------------
# Looking


def _shape(graph: Graph, name: str, rank: int | None = None) -> tuple[int, ...]:
    shape = static_shape(graph, name)
    if shape is None or (rank is not None and len(shape) != rank):
        raise _UnlikeError
    return shape


def _made(graph: Graph, name: str, *kinds: str) -> NodeProto:
    """The node that makes a value, which must be of one of these kinds."""
    node = graph.producer(name)
    if node is None or node.op_type not in kinds:
        raise _UnlikeError
    return node


def _same_elements(graph: Graph, name: str) -> Iterator[str]:
    """A value, and those before it that have the same elements in the same order, in other shapes."""
    while True:
        yield name
        node = graph.producer(name)
        if node is None or node.op_type not in _RESHAPES:
            return
        name = node.input[0]


def _at_shape(graph: Graph, name: str, shape: Sequence[int]) -> str:
    """The earliest of the same elements that has this shape."""
    found = [each for each in _same_elements(graph, name) if static_shape(graph, each) == tuple(shape)]
    if not found:
        raise _UnlikeError
    return found[-1]


def _past_reshapes(graph: Graph, name: str) -> NodeProto:
    *_, last = _same_elements(graph, name)
    node = graph.producer(last)
    if node is None:
        raise _UnlikeError
    return node


def _whole(graph: Graph, name: str) -> int | None:
    array = graph.constants.get(name)
    return int(array.item()) if array is not None and array.size == 1 and array.dtype.kind == "i" else None
