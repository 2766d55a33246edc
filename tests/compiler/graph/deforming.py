"""Networks with deformable convolutions: as ONNX has them, and decomposed as exporters for older opsets do.

Each makes its offsets and its mask of the picture `x`, like BiRefNet's, and gives `y`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """The numbers of one deformable convolution. `spread` is how far the offsets go, in pixels."""

    size: tuple[int, int] = (9, 11)
    batch: int = 1
    channels: int = 4
    outputs: int = 6
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (1, 1)
    group: int = 1
    offset_group: int = 1
    mask: bool = True
    bias: bool = True
    spread: float = 2.0

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def result(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = (
            (size + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1
            for size, pad, kernel, dilation, stride in zip(
                self.size, self.pads, self.kernel, self.dilations, self.strides, strict=True
            )
        )
        return rows, columns

    def arrays(self, seed: int = 0) -> dict[str, Array]:
        """The inputs x, offset and mask, and the constants weights and bias."""
        rng = np.random.default_rng(seed)
        shapes = {
            "x": (self.batch, self.channels, *self.size),
            "weights": (self.outputs, self.channels // self.group, *self.kernel),
            "offset": (self.batch, 2 * self.offset_group * self.taps, *self.result),
            "bias": (self.outputs,),
            "mask": (self.batch, self.offset_group * self.taps, *self.result),
        }
        made = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        made["offset"] *= self.spread
        made["mask"] = 2 / (1 + np.exp(-made["mask"]))
        return {name: array.astype(np.float32) for name, array in made.items()}

    def reference(self, arrays: dict[str, Array]) -> Array:
        """The result in float64, from the definition."""
        x, offset, mask = (arrays[name].astype(np.float64) for name in ("x", "offset", "mask"))
        rows, columns = self.result
        sampled = np.zeros((self.batch, self.channels, self.taps, rows, columns))
        of_group = self.channels // self.offset_group
        for image, channel, tap in np.ndindex(self.batch, self.channels, self.taps):
            group = channel // of_group
            at = 2 * (group * self.taps + tap)
            down = np.arange(rows)[:, None] * self.strides[0] - self.pads[0]
            across = np.arange(columns)[None] * self.strides[1] - self.pads[1]
            y = offset[image, at] + down + tap // self.kernel[1] * self.dilations[0]
            x_ = offset[image, at + 1] + across + tap % self.kernel[1] * self.dilations[1]
            values = _between(x[image, channel], y, x_)
            sampled[image, channel, tap] = values * (mask[image, group * self.taps + tap] if self.mask else 1)
        weights = arrays["weights"].astype(np.float64).reshape(self.group, self.outputs // self.group, -1, self.taps)
        grouped = sampled.reshape(self.batch, self.group, self.channels // self.group, self.taps, rows, columns)
        made = np.einsum("goct,ngcthw->ngohw", weights, grouped).reshape(self.batch, self.outputs, rows, columns)
        return made + (arrays["bias"].astype(np.float64)[:, None, None] if self.bias else 0)


CASES = {
    "plain": Case(),
    "one tap": Case(kernel=(1, 1), pads=(0, 0)),
    "one tap on one pixel": Case(kernel=(1, 1), pads=(0, 0), size=(1, 1)),
    "seven by seven": Case(kernel=(7, 7), pads=(3, 3)),
    "unequal": Case(kernel=(3, 5), pads=(0, 2), strides=(2, 3), dilations=(2, 1), size=(13, 17)),
    "strides that leave a rest": Case(strides=(2, 2), size=(8, 11)),
    "groups": Case(batch=2, channels=8, group=2, outputs=6),
    "groups of offsets": Case(batch=2, channels=8, offset_group=4),
    "both groups": Case(channels=8, group=4, offset_group=2, outputs=8),
    "a channel each": Case(batch=2, offset_group=4),
    "without mask": Case(mask=False),
    "without bias": Case(bias=False),
    "far outside": Case(spread=40.0),
    "a picture of one column": Case(size=(6, 1)),
}


def _between(picture: Array, y: Array, x: Array) -> Array:
    """Bilinear, with zeros around the picture."""
    total = np.zeros(np.broadcast(y, x).shape)
    top, left = np.floor(y), np.floor(x)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at_y, at_x = top + row, left + column
        weight = (1 - abs(y - at_y)) * (1 - abs(x - at_x))
        inside = (at_y >= 0) & (at_x >= 0) & (at_y < picture.shape[0]) & (at_x < picture.shape[1])
        places = np.where(inside, at_y, 0).astype(int), np.where(inside, at_x, 0).astype(int)
        total += np.where(inside, picture[places] * weight, 0)
    return total


def as_node(case: Case, arrays: dict[str, Array], opset: int = 19) -> ModelProto:
    """One DeformConv over the inputs x, offset and mask."""
    node = helper.make_node(
        "DeformConv",
        ["x", "weights", "offset", "bias" if case.bias else "", *(["mask"] if case.mask else [])],
        ["y"],
        kernel_shape=case.kernel,
        strides=case.strides,
        dilations=case.dilations,
        pads=[*case.pads, *case.pads],
        group=case.group,
        offset_group=case.offset_group,
    )
    return _Writer(case, arrays).model([node], opset)


def decomposed(case: Case, arrays: dict[str, Array], *, pixels: bool = True, opset: int = 17) -> ModelProto:
    """The same with gathers: of pixels with GatherND, or of joined rows with GatherElements."""
    return _Writer(case, arrays).decomposed(pixels, opset)


@dataclass
class _Writer:
    case: Case
    arrays: dict[str, Array]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def model(self, nodes: list[Any], opset: int) -> ModelProto:
        case = self.case
        inputs = ["x", "offset", *(["mask"] if case.mask else [])]
        kept = {"weights": self.arrays["weights"], **({"bias": self.arrays["bias"]} if case.bias else {})}
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.arrays[name].shape) for name in inputs],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [case.batch, case.outputs, *case.result])],
            [numpy_helper.from_array(array, name) for name, array in {**kept, **self.constants}.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **settings: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **settings))
        return output

    def reshape(self, name: str, *shape: int, output: str = "") -> str:
        return self.add("Reshape", name, self.constant(shape), output=output)

    def decomposed(self, pixels: bool, opset: int) -> ModelProto:
        case, (rows, columns) = self.case, self.case.result
        batch, groups, taps = case.batch, case.offset_group, case.taps
        frame = [pad or 1 for pad in case.pads]
        height, width = case.size[0] + 2 * frame[0], case.size[1] + 2 * frame[1]
        usual = np.zeros((1, 1, taps, 2, rows, columns))
        for tap in range(taps):
            down, across = tap // case.kernel[1] * case.dilations[0], tap % case.kernel[1] * case.dilations[1]
            usual[0, 0, tap, 0] = np.arange(rows)[:, None] * case.strides[0] + down + frame[0] - case.pads[0]
            usual[0, 0, tap, 1] = np.arange(columns) * case.strides[1] + across + frame[1] - case.pads[1]
        offset = self.reshape("offset", batch, groups, taps, 2, rows, columns)
        position = self.add("Add", self.constant(usual, np.float32), offset)
        floor = self.add("Floor", position)
        whole = self.add("Cast", floor, to=TensorProto.INT64)
        rest = self.add("Sub", position, floor)
        indices, weights = {}, {}
        one, whole_one = self.constant(1, np.float32), self.constant(1)
        for axis, size in enumerate((height, width)):
            last, none = self.constant(size - 1), self.constant(0)
            near = self.half(whole, axis)
            indices[axis, 0] = self.add("Clip", near, none, last)
            indices[axis, 1] = self.add("Clip", self.add("Add", near, whole_one), none, last)
            weights[axis, 1] = self.half(rest, axis)
            weights[axis, 0] = self.add("Sub", one, weights[axis, 1])
        border = self.constant([0, 0, *frame, 0, 0, *frame])
        picture = self.add("Pad", "x", border, mode="constant")
        picture = self.reshape(picture, batch, groups, case.channels // groups, height, width)
        terms = []
        for row, column in ((0, 0), (1, 1), (1, 0), (0, 1)):
            factor = self.add("Mul", weights[1, column], weights[0, row])
            factor = self.reshape(factor, batch, groups, 1, taps, rows, columns)
            gather = self.pixels if pixels else self.joined_rows
            values = gather(picture, indices[0, row], indices[1, column], height, width)
            values = self.reshape(values, batch, groups, case.channels // groups, taps, rows, columns)
            terms.append(self.add("Mul", factor, values))
        values = self.add("Sum", *terms)
        if case.mask:
            values = self.add("Mul", values, self.reshape("mask", batch, groups, 1, taps, rows, columns))
        values = self.reshape(values, batch, case.channels, *case.kernel, rows, columns)
        values = self.add("Transpose", values, perm=[0, 1, 4, 2, 5, 3])
        values = self.reshape(values, batch, case.channels, rows * case.kernel[0], columns * case.kernel[1])
        steps = {"kernel_shape": case.kernel, "strides": case.kernel, "group": case.group}
        self.add("Conv", values, "weights", output="plain" if case.bias else "y", **steps)
        if case.bias:
            self.constants["column"] = self.arrays["bias"].reshape(1, -1, 1, 1)
            self.add("Add", "plain", "column", output="y")
        return self.model(self.nodes, opset)

    def half(self, name: str, axis: int) -> str:
        return self.add("Slice", name, *(self.constant([each]) for each in (axis, axis + 1, 3)))

    def pixels(self, picture: str, down: str, across: str, height: int, width: int) -> str:
        case = self.case
        shape = (case.batch, case.offset_group, case.taps * math.prod(case.result), 1)
        index = self.add("Concat", self.reshape(down, *shape), self.reshape(across, *shape), axis=3)
        last = self.add("Transpose", picture, perm=[0, 1, 3, 4, 2])
        return self.add("Transpose", self.add("GatherND", last, index, batch_dims=2), perm=[0, 1, 3, 2])

    def joined_rows(self, picture: str, down: str, across: str, height: int, width: int) -> str:
        case = self.case
        shape = (case.batch, case.offset_group, 1, case.taps * math.prod(case.result))
        row = self.add("Mul", self.reshape(down, *shape), self.constant(width))
        index = self.add("Add", row, self.reshape(across, *shape))
        channels = case.channels // case.offset_group
        index = self.add("Expand", index, self.constant([*shape[:2], channels, shape[3]]))
        joined = self.reshape(picture, case.batch, case.offset_group, channels, height * width)
        return self.add("GatherElements", joined, index, axis=3)


def matting(case: Case, *, form: str = "node", opset: int = 19) -> ModelProto:
    """A network of one picture whose alpha is a deformable convolution, which takes offsets and mask from convolutions.

    `form` is "node", "pixels" or "rows".
    """
    arrays = case.arrays()
    model = as_node(case, arrays, opset) if form == "node" else decomposed(case, arrays, pixels=form == "pixels")
    rng = np.random.default_rng(1)
    steps = {"strides": case.strides, "dilations": case.dilations, "pads": [*case.pads, *case.pads]}
    first = []
    for name, count in (("offset", 2), ("mask", 1)):
        kernel = rng.standard_normal((count * case.offset_group * case.taps, case.channels, *case.kernel)) * 0.5
        model.graph.initializer.append(numpy_helper.from_array(kernel.astype(np.float32), f"{name}/kernel"))
        made = name if name == "offset" else "modulator"
        first.append(helper.make_node("Conv", ["x", f"{name}/kernel"], [made], **steps))
    model.graph.initializer.append(numpy_helper.from_array(np.array(2, np.float32), "two"))
    first += [
        helper.make_node("Sigmoid", ["modulator"], ["half"]),
        helper.make_node("Mul", ["half", "two"], ["mask"]),
    ]
    last = model.graph.node[-1]
    last.output[0] = "logits"
    nodes = [*first, *model.graph.node, helper.make_node("Sigmoid", ["logits"], ["y"])]
    del model.graph.node[:], model.graph.input[1:]
    model.graph.node.extend(nodes)
    return model
