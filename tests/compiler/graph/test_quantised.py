"""Dynamically quantised files: their layers become float32 layers with the weights that the bytes stand for."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtmatte.compiler.graph import reading
from trtmatte.errors import ModelError

RNG = np.random.default_rng(5)


def initialisers(**arrays):
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model(nodes, constants, shape, rank=4):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolution(channels_scale, bias=True, groups=1):
    """A layer as ONNX Runtime's quantiser writes it."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("Mul", ["s", "scale"], ["scales"]),
        helper.make_node("ConvInteger", ["q", "w", "z", "zero"], ["whole"], pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Cast", ["whole"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scales"], ["scaled" if bias else "y"]),
    ]
    if bias:
        nodes += [
            helper.make_node("Reshape", ["bias", "form"], ["column"]),
            helper.make_node("Add", ["scaled", "column"], ["y"]),
        ]
    constants = initialisers(
        w=RNG.integers(0, 256, (4, 3 // groups, 3, 3), dtype=np.uint8),
        zero=np.uint8(120),
        scale=np.float32(0.01) if channels_scale == 1 else RNG.uniform(0.01, 0.02, (1, 4, 1, 1)).astype(np.float32),
        bias=RNG.normal(size=4).astype(np.float32),
        form=np.array([1, 4, 1, 1]),
    )
    return model(nodes, constants, [1, 3, 9, 11])


def product():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("Mul", ["scale", "s"], ["scales"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "zero"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scales", "float"], ["y"]),
    ]
    constants = initialisers(
        w=RNG.integers(-63, 64, (6, 5), dtype=np.int8), zero=np.zeros(5, np.int8), scale=np.full(5, 0.01, np.float32)
    )
    return model(nodes, constants, [7, 6], rank=2)


def run(proto, x):
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    "original",
    [convolution(1), convolution(4), convolution(4, bias=False), product()],
    ids=["convolution", "a scale for each channel", "without bias", "product"],
)
def test_a_layer_is_float32_with_the_same_weights(original):
    x = RNG.normal(size=[each.dim_value for each in original.graph.input[0].type.tensor_type.shape.dim])
    x = x.astype(np.float32)
    expected = run(original, x)
    graph = reading.from_model(original)
    assert {node.op_type for node in graph.nodes} <= {"Conv", "MatMul"}
    found = run(graph.model(), x)
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()  # the quantiser's own rounding of x


def test_the_bias_stays_exact():
    graph = reading.from_model(convolution(1))
    zero = np.zeros((1, 3, 9, 11), np.float32)
    bias = next(array for array in graph.constants.values() if array.shape == (4,))
    assert np.array_equal(run(graph.model(), zero)[0, :, 4, 5], bias)


def test_an_unknown_form_is_refused():
    strange = convolution(1)
    strange.graph.node[3].attribute[0].i = TensorProto.INT32
    strange.graph.node[4].op_type = "Identity"
    del strange.graph.node[4].input[1:]
    del strange.graph.node[5:]
    strange.graph.node[4].output[0] = "y"
    strange.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    with pytest.raises(ModelError, match=r"quantises while it runs in a form that is not known"):
        reading.from_model(strange)


def test_the_model_is_valid():
    onnx.checker.check_model(reading.from_model(convolution(4)).model())
