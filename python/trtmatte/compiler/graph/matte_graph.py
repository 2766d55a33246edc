"""The trtmatte graph: an ONNX model in which everything that touches full frames or patches is one of our ops.

It carries the ops' function bodies, so that any ONNX runtime can run it, and a `Spec` that describes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from trtmatte.compiler.graph import functions
from trtmatte.compiler.graph.functions import DOMAIN, Value
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError
from trtmatte.format.outputs import CHANNELS, DEFAULT_OUTPUTS, MATTE_OUTPUTS
from trtmatte.format.stages import BACKGROUND, FRAME, PATCHES, PLATE, State
from trtmatte.format.validate import patch_capacity

_KEY: Final = "trtmatte"
Described = Mapping[str, tuple[int, Sequence[int | str]]]


@dataclass(frozen=True)
class Spec:
    """The description of a trtmatte graph. States and small outputs have the graph's names."""

    family: str
    variant: str
    size: tuple[int, int]
    batch: int
    states: tuple[State, ...] = ()
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelProto) -> Spec:
        """The spec that a trtmatte graph carries."""
        for entry in model.metadata_props:
            if entry.key == _KEY:
                data = json.loads(entry.value)
                states = tuple(State(**each) for each in data.pop("states"))
                size, outputs = tuple(data.pop("size")), tuple(data.pop("outputs"))
                return cls(**data, size=size, outputs=outputs, states=states)
        raise ModelError("this ONNX model is not a trtmatte graph; trtmatte.compiler.families.reading.read makes one")


def assemble(graph: Graph, spec: Spec) -> ModelProto:
    """The model of a graph with our ops."""
    model = graph.model(name=f"{spec.family}_{spec.variant}")
    used = {node.op_type for node in graph.nodes if node.domain == DOMAIN}
    model.functions.extend(each for each in functions.functions(graph.opset) if each.name in used)
    helper.set_model_props(model, {_KEY: json.dumps(asdict(spec))})
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Adding ops to a graph


def add_picture(graph: Graph, name: str, spec: Spec) -> None:
    """Add a full frame as an input: uint8 and HWC, which `with_layout` can change."""
    width, height = spec.size
    graph.inputs[name] = helper.make_tensor_value_info(name, TensorProto.UINT8, [spec.batch, height, width, 3])


def add_op(graph: Graph, op: str, inputs: Sequence[str], outputs: Described, **settings: Value) -> None:
    """Add a node of an op, with the types and shapes of its outputs, which ONNX cannot infer."""
    graph.nodes.append(functions.node(op, inputs, list(outputs), **settings))
    for name, (element, shape) in outputs.items():
        graph.values[name] = helper.make_tensor_value_info(name, element, shape)
    graph.changed()


def add_sample(
    graph: Graph, picture: str, output: str, spec: Spec, small: tuple[int, int], step: Any = None, **settings: Value
) -> None:
    """Add FrameSample to `small`, a width and a height. `step` is a fraction, unless the sizes determine it."""
    width, height = small
    add_op(
        graph,
        "FrameSample",
        [picture],
        {output: (TensorProto.FLOAT, [spec.batch, 3, height, width])},
        height=height,
        width=width,
        step_y=[step.numerator, step.denominator] if step else [spec.size[1], height],
        step_x=[step.numerator, step.denominator] if step else [spec.size[0], width],
        **settings,
    )


def add_patches(graph: Graph, spec: Spec, kernel: int, selection: Mapping[str, Any]) -> None:
    """Add PatchSelect of `err` and PatchCrop of `maps`: they make `indices`, `count`, `ref_sm`, `half` and `full`."""
    width, height = spec.size
    grid = {"height": height // 4, "width": width // 4}
    capacity = patch_capacity(width, height, spec.batch, selection)
    add_op(
        graph,
        "PatchSelect",
        ["err_sm"],
        {
            "indices": (TensorProto.INT32, [PATCHES, 3]),
            "count": (TensorProto.INT32, [1]),
            "ref_sm": (TensorProto.FLOAT, [spec.batch, 1, height // 4, width // 4]),
        },
        **grid,
        **selection,
        capacity=capacity,
    )
    half, full = (8, 8) if kernel == 3 else (2, 4)
    add_op(
        graph,
        "PatchCrop",
        ["maps", FRAME, PLATE, "indices"],
        {
            "half": (TensorProto.FLOAT, [PATCHES, 42, half, half]),
            "full": (TensorProto.FLOAT, [PATCHES, 6, full, full]),
        },
        kernel=kernel,
    )


def add_estimate(graph: Graph, alpha: str, output: str, spec: Spec) -> None:
    """Add ForegroundEstimate of the frame and this alpha."""
    add_op(graph, "ForegroundEstimate", [FRAME, alpha], {output: (TensorProto.FLOAT, [spec.batch, 6, 128, 128])})


def add_matte(graph: Graph, op: str, inputs: Sequence[str], spec: Spec, **settings: Value) -> None:
    """Add the op that writes the matte. The default outputs come first among the graph's outputs.

    Colours that MatteUpsample is not given become a constant of one cell, which means none.
    """
    width, height = spec.size
    graph.inputs[BACKGROUND] = helper.make_tensor_value_info(BACKGROUND, TensorProto.FLOAT, [None, 3, None, None])
    if len(inputs) + 2 == len(functions.OPS[op].inputs):
        inputs = [*inputs, graph.add_constant(np.zeros((spec.batch, 6, 1, 1), np.float32), "no_colours")]
    node = functions.node(op, [*inputs, BACKGROUND], list(MATTE_OUTPUTS), **settings)
    graph.nodes.append(node)
    others = dict(graph.outputs)
    graph.outputs.clear()
    for name in DEFAULT_OUTPUTS:
        shape = [spec.batch, height, width, CHANNELS[name]]
        graph.outputs[name] = helper.make_tensor_value_info(name, TensorProto.UINT8, shape)
    graph.outputs.update(others)
    graph.changed()


# ---------------------------------------------------------------------------------------------------------------------
# Layouts


def with_layout(
    model: ModelProto,
    *,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    frame_dtype: str = "uint8",
    dtype: str = "uint8",
    frame_layout: str = "HWC",
    layout: str = "HWC",
    color: str = "rgb",
    for_tensorrt: bool = False,
) -> ModelProto:
    """The same trtmatte graph for frames and mattes in another form, with these outputs of the matte.

    TensorRT knows bytes only at the edges of a graph: `for_tensorrt` converts them outside the ops, which then see
    0…255 in float16, which is exact. TensorRT also makes every output of an op: the attribute `matte_wanted` tells
    the plugin which of them to write.
    """
    model = _copy(model)
    spec = Spec.of(model)
    order = [0, 1, 2] if color == "rgb" else [2, 1, 0]
    settings: dict[str, Value] = {
        "frame_perm": [0, 3, 1, 2] if frame_layout == "HWC" else [0, 1, 2, 3],
        "frame_channels": order,
        "frame_range": 255 if frame_dtype == "uint8" else 1,
        "matte_perm": [0, 2, 3, 1] if layout == "HWC" else [0, 1, 2, 3],
        "matte_channels": order,
        "matte_range": 255 if dtype == "uint8" else 1,
        "matte_type": _element("float16" if for_tensorrt and dtype == "uint8" else dtype),
    }
    for node in model.graph.node:
        if node.domain == DOMAIN:
            _set(node, settings)
            if BACKGROUND in node.input:
                node.output[:] = [name if name in outputs or for_tensorrt else "" for name in MATTE_OUTPUTS]
                if for_tensorrt:
                    wanted = [int(name in outputs) for name in MATTE_OUTPUTS]
                    node.attribute.append(helper.make_attribute("matte_wanted", wanted))
    for value in model.graph.input:
        if value.name in (FRAME, PLATE):
            shape = _shape(spec, 3, frame_layout)
            value.CopyFrom(helper.make_tensor_value_info(value.name, _element(frame_dtype), shape))
    others = [value for value in model.graph.output if value.name not in MATTE_OUTPUTS]
    wanted = [
        helper.make_tensor_value_info(name, _element(dtype), _shape(spec, CHANNELS[name], layout)) for name in outputs
    ]
    del model.graph.output[:]
    model.graph.output.extend([*wanted, *others])
    if for_tensorrt:
        _cast_outside(model)
    return model


def _cast_outside(model: ModelProto) -> None:
    """Put casts between the ops and the inputs and outputs that are bytes."""
    nodes = list(model.graph.node)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type != TensorProto.UINT8:
            continue
        inner = f"{value.name}_half"
        for node in nodes:
            node.input[:] = [inner if name == value.name else name for name in node.input]
            node.output[:] = [inner if name == value.name else name for name in node.output]
        if value in model.graph.input:
            nodes.insert(0, helper.make_node("Cast", [value.name], [inner], name=inner, to=TensorProto.FLOAT16))
        else:
            nodes.append(helper.make_node("Cast", [inner], [value.name], name=inner, to=TensorProto.UINT8))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _shape(spec: Spec, channels: int, layout: str) -> list[int]:
    width, height = spec.size
    return [spec.batch, height, width, channels] if layout == "HWC" else [spec.batch, channels, height, width]


def _element(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _set(node: NodeProto, settings: Mapping[str, Value]) -> None:
    for attribute in node.attribute:
        if attribute.name in settings:
            attribute.CopyFrom(helper.make_attribute(attribute.name, settings[attribute.name]))


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
