"""The form of a network for CPUs: the same values, other nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from trtmatte.compiler.graph.cpu import for_cpu

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def model(nodes, constants, outputs=("y",), widths=(3, 5, 8), opset=17):
    inputs = [helper.make_tensor_value_info(f"x{i}", FLOAT, [2, width, 9, 7]) for i, width in enumerate(widths)]
    graph = helper.make_graph(
        [helper.make_node(kind, reads, makes, **settings) for kind, reads, makes, settings in nodes],
        "stage",
        inputs,
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return shape_inference.infer_shapes(made, strict_mode=True)


def run(made):
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    feed = {each.name: rng.standard_normal(each.shape).astype(np.float32) * 3 for each in session.get_inputs()}
    return dict(zip((each.name for each in session.get_outputs()), session.run(None, feed), strict=True))


def assert_same(before, kinds):
    after = for_cpu(before)
    assert (after is before) == (sorted(node.op_type for node in before.graph.node) == sorted(kinds))
    onnx.checker.check_model(after, full_check=True)
    assert sorted(node.op_type for node in after.graph.node) == sorted(kinds)
    assert [each.name for each in after.graph.output] == [each.name for each in before.graph.output]
    expected, actual = run(before), run(after)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-4)


JOINED = ("Concat", ["x0", "x1", "x2"], ["c"], {"axis": 1})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{"pads": [1, 1, 1, 1]}, {"strides": [2, 1], "dilations": [2, 2]}])
def test_a_convolution_over_a_concatenation_becomes_a_sum(bias, settings):
    constants = {"w": weights(4, 16, 3, 3), "b": weights(4)}
    reads = ["c", "w", "b"] if bias else ["c", "w"]
    made = model([JOINED, ("Conv", reads, ["y"], settings)], constants)
    assert_same(made, ["Conv"] * 3 + ["Add"] * 2)


def test_what_others_read_stays():
    made = model(
        [JOINED, ("Conv", ["c", "w"], ["y"], {}), ("Relu", ["c"], ["z"], {})],
        {"w": weights(4, 16, 1, 1)},
        outputs=("y", "z"),
    )
    assert_same(made, ["Conv"] * 3 + ["Add"] * 2 + ["Concat", "Relu"])


def test_two_convolutions_of_one_concatenation():
    made = model(
        [JOINED, ("Conv", ["c", "w"], ["a"], {}), ("Conv", ["c", "v"], ["b"], {}), ("Mul", ["a", "b"], ["y"], {})],
        {"w": weights(4, 16, 1, 1), "v": weights(4, 16, 1, 1)},
    )
    assert_same(made, ["Conv"] * 6 + ["Add"] * 4 + ["Mul"])


def test_groups_and_other_axes_stay():
    grouped = model([JOINED, ("Conv", ["c", "w"], ["y"], {"group": 4})], {"w": weights(8, 4, 3, 3)})
    assert_same(grouped, ["Concat", "Conv"])
    high = model(
        [("Concat", ["x0", "x1"], ["c"], {"axis": 2}), ("Conv", ["c", "w"], ["y"], {})],
        {"w": weights(4, 3, 3, 3)},
        widths=(3, 3),
    )
    assert_same(high, ["Concat", "Conv"])


@pytest.mark.parametrize(("widths", "splits"), [((16, 32), False), ((16, 24), True), ((3, 3), False)])
def test_whole_vectors_and_few_channels_stay_together(widths, splits):
    nodes = [("Concat", ["x0", "x1"], ["c"], {"axis": 1}), ("Conv", ["c", "w"], ["y"], {})]
    made = model(nodes, {"w": weights(4, sum(widths), 1, 1)}, widths=widths)
    assert_same(made, ["Conv", "Conv", "Add"] if splits else ["Concat", "Conv"])


SIXTH = {"alpha": 1 / 6, "beta": 0.5}


def test_a_hard_swish_is_one_node():
    made = model([("HardSigmoid", ["x0"], ["g"], SIXTH), ("Mul", ["x0", "g"], ["y"], {})], {}, widths=(3,))
    assert_same(made, ["HardSwish"])


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ([("HardSigmoid", ["x0"], ["g"], {"alpha": 0.2}), ("Mul", ["g", "x0"], ["y"], {})], 17),
        ([("HardSigmoid", ["x0"], ["g"], SIXTH), ("Mul", ["g", "x1"], ["y"], {})], 17),
        ([("HardSigmoid", ["x0"], ["g"], SIXTH), ("Add", ["g", "x0"], ["y"], {})], 17),
        ([("HardSigmoid", ["x0"], ["g"], SIXTH), ("Mul", ["g", "x0"], ["y"], {})], 13),
    ],
    ids=["another slope", "another factor", "a sum", "an opset without it"],
)
def test_what_is_no_hard_swish_stays(nodes, opset):
    made = model(nodes, {}, widths=(3, 3), opset=opset)
    assert_same(made, [kind for kind, *_ in nodes])


def test_a_gate_that_others_read_stays():
    nodes = [("HardSigmoid", ["x0"], ["g"], SIXTH), ("Mul", ["x0", "g"], ["y"], {})]
    assert_same(model(nodes, {}, outputs=("y", "g"), widths=(3,)), ["HardSigmoid", "Mul"])
    nodes.append(("Relu", ["g"], ["z"], {}))
    assert_same(model(nodes, {}, outputs=("y", "z"), widths=(3,)), ["HardSigmoid", "Mul", "Relu"])
