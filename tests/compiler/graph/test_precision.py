"""Float16 as a pass: what it converts and what not, that results hold, and what the families' rules keep."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests import real_models as models
from tests import reference
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.backends.onnxruntime import Network
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families import registry
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.precision import emulated, head, nothing, offsets, rule_of, stem, sums, to_fp16, together
from trtmatte.compiler.graph.specialise import infer_shapes
from trtmatte.format.stages import BACKGROUND

FLOAT, HALF, INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
SHAPE = [1, 4, 6, 6]


def node(kind, inputs, *outputs, **attributes):
    return helper.make_node(kind, inputs, list(outputs), name=f"make {outputs[0]}", **attributes)


def model(nodes, inputs, outputs, constants=()) -> ModelProto:
    def values(described):
        return [helper.make_tensor_value_info(name, *kind) for name, kind in described.items()]

    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: ModelProto, **inputs) -> dict[str, np.ndarray]:
    """With inputs as the model wants them."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    feed = {
        each.name: inputs[each.name].astype(kinds.get(each.type, inputs[each.name].dtype))
        for each in session.get_inputs()
    }
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def types(model: ModelProto) -> dict[str, int]:
    """The element type of every value, as ONNX infers it from the inputs on."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = {
        each.name: each.type.tensor_type.elem_type for each in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    return values | {each.name: each.data_type for each in inferred.initializer}


def keep(*names):
    return lambda graph: set(names)


def picture(seed: int = 0, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network() -> ModelProto:
    """Two convolutions with a gate between them."""
    nodes = [
        node("Conv", ["x", "w"], "a", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], "b"),
        node("GlobalAveragePool", ["b"], "c"),
        node("Sigmoid", ["c"], "d"),
        node("Mul", ["b", "d"], "e"),
        node("Conv", ["e", "w"], "f", pads=[1, 1, 1, 1]),
        node("Add", ["f", "x"], "y"),
    ]
    weights = picture(1, [4, 4, 3, 3]) / 6
    return model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)}, {"w": weights})


# ---------------------------------------------------------------------------------------------------------------------
# The pass


def test_everything_becomes_float16():
    half = to_fp16(network())
    assert set(types(half).values()) == {HALF}
    assert [each.op_type for each in half.graph.node] == [each.op_type for each in network().graph.node]
    x = picture()
    np.testing.assert_allclose(run(half, x=x)["y"], run(network(), x=x)["y"], atol=5e-3)


def test_the_model_is_left_as_it_was():
    given, before = network(), network().SerializeToString()
    to_fp16(given, keep("a"))
    assert given.SerializeToString() == before


def test_what_is_kept_is_computed_in_float32():
    half = to_fp16(network(), keep("a", "b", "f"))
    found = types(half)
    assert [found[name] for name in "abcdefy"] == [FLOAT, FLOAT, HALF, HALF, HALF, FLOAT, HALF]
    for each in half.graph.node:
        if each.op_type == "Conv":
            assert {found[name] for name in each.input} == {FLOAT}
    x = picture()
    np.testing.assert_allclose(run(half, x=x)["y"], run(network(), x=x)["y"], atol=5e-3)


def test_a_value_is_cast_once_to_a_type():
    half = to_fp16(network(), keep("a", "b"))
    casts = [each for each in half.graph.node if each.op_type == "Cast"]
    assert sorted(each.input[0] for each in casts) == ["b", "x"]
    assert len({each.name for each in half.graph.node}) == len(half.graph.node)


def test_a_weight_that_both_kinds_read_exists_twice():
    half = to_fp16(network(), keep("a"))
    assert sorted(each.data_type for each in half.graph.initializer) == [FLOAT, HALF]


def test_inputs_and_outputs_can_stay_in_float32():
    half = to_fp16(network(), wide=["x", "y"])
    found = types(half)
    assert (found["x"], found["y"], found["a"]) == (FLOAT, FLOAT, HALF)
    assert run(half, x=picture())["y"].dtype == np.float32


def test_an_output_that_is_read_inside_as_well():
    nodes = [node("Relu", ["x"], "y"), node("Neg", ["y"], "z")]
    given = model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE), "z": (FLOAT, SHAPE)})
    x = picture()
    for kept, wide in itertools.product([(), ("y",), ("z",), ("y", "z")], [(), ("y",), ("z",)]):
        found = run(to_fp16(given, keep(*kept), wide), x=x)
        for name, sign in (("y", 1), ("z", -1)):
            assert found[name].dtype == (np.float32 if name in wide else np.float16)
            np.testing.assert_allclose(found[name], sign * np.maximum(x, 0), atol=2e-3)


def test_a_constant_that_float16_cannot_hold_keeps_its_node():
    nodes = [node("Mul", ["x", "k"], "a"), node("Div", ["a", "k"], "b"), node("Neg", ["b"], "y")]
    given = model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)}, {"k": np.float32(1e6)})
    found = types(to_fp16(given))
    assert (found["a"], found["b"], found["y"]) == (FLOAT, FLOAT, HALF)
    np.testing.assert_allclose(run(to_fp16(given), x=picture())["y"], -picture(), atol=2e-3)


def test_an_infinite_constant_is_one_in_float16_too():
    given = model(
        [node("Max", ["x", "k"], "y")], {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)}, {"k": np.float32(-np.inf)}
    )
    assert set(types(to_fp16(given)).values()) == {HALF}


def test_scales_and_sizes_of_a_resize_stay():
    nodes = [
        node("Resize", ["x", "", "scales"], "a", mode="linear"),
        node("Resize", ["a", "roi", "", "sizes"], "y", mode="nearest"),
    ]
    constants = {"scales": np.float32([1, 1, 2, 2]), "roi": np.float32([]), "sizes": np.array([1, 4, 3, 3])}
    given = model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, [1, 4, 3, 3])}, constants)
    found = types(to_fp16(given))
    assert (found["scales"], found["roi"], found["sizes"], found["a"], found["y"]) == (FLOAT, FLOAT, INT, HALF, HALF)
    assert run(to_fp16(given), x=picture())["y"].shape == (1, 4, 3, 3)


def test_shapes_and_masks_stay_what_they_are():
    nodes = [
        node("Shape", ["x"], "s"),
        node("Cast", ["s"], "f", to=FLOAT),
        node("ReduceProd", ["f"], "n", keepdims=0),
        node("Div", ["x", "n"], "a"),
        node("Greater", ["a", "zero"], "mask"),
        node("Where", ["mask", "a", "x"], "b"),
        node("Reshape", ["b", "s"], "y"),
    ]
    given = model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)}, {"zero": np.float32(0)})
    half = to_fp16(given)
    found = types(half)
    assert (found["s"], found["f"], found["n"], found["mask"]) == (INT, HALF, HALF, TensorProto.BOOL)
    x = picture()
    np.testing.assert_allclose(run(half, x=x)["y"], run(given, x=x)["y"], atol=2e-3)


def test_the_body_of_an_if_stays_in_float32():
    def body(kind):
        value = helper.make_tensor_value_info("r", FLOAT, SHAPE)
        return helper.make_graph([node(kind, ["a"], "r")], kind, [], [value])

    branch = node("If", ["flag"], "b", then_branch=body("Neg"), else_branch=body("Abs"))
    nodes = [node("Relu", ["x"], "a"), branch, node("Relu", ["b"], "y")]
    inputs = {"x": (FLOAT, SHAPE), "flag": (TensorProto.BOOL, [])}
    half = to_fp16(model(nodes, inputs, {"y": (FLOAT, SHAPE)}))
    x = picture()
    for flag, expected in ((False, np.maximum(x, 0)), (True, np.zeros(SHAPE))):
        np.testing.assert_allclose(run(half, x=x, flag=np.array(flag))["y"], expected, atol=2e-3)


OPERATIONS = ("Add", "Sub", "Mul", "Max", "Concat")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_graph_with_anything_kept(data):
    """Whatever is kept and wherever it lies, the types agree and the result is that of float32, but for rounding."""
    names = ["x", "z"]
    nodes = []
    for index in range(data.draw(st.integers(1, 8))):
        kind, name = data.draw(st.sampled_from(OPERATIONS)), f"v{index}"
        inputs = [data.draw(st.sampled_from([*names, "k"])) for _ in range(2)]
        if kind == "Concat":
            nodes += [node("Concat", inputs, f"{name}c", axis=1), node("Split", [f"{name}c"], name, f"{name}s", axis=1)]
            names.append(f"{name}s")
        else:
            nodes.append(node(kind, inputs, name))
        names.append(name)
    made = names[2:]
    outputs = data.draw(st.lists(st.sampled_from(made), min_size=1, unique=True))
    kept = data.draw(st.sets(st.sampled_from(made)))
    wide = data.draw(st.sets(st.sampled_from(["x", "z", *outputs])))
    shape = [1, 4, 2, 2]
    given_model = model(
        nodes,
        dict.fromkeys("xz", (FLOAT, shape)),
        dict.fromkeys(outputs, (FLOAT, shape)),
        {"k": picture(5, shape) / 4},
    )
    arrays = {"x": picture(6, shape) / 4, "z": picture(7, shape) / 4}
    half = to_fp16(given_model, keep(*kept), wide)
    found, expected = run(half, **arrays), run(given_model, **arrays)
    for name in outputs:
        assert found[name].dtype == (np.float32 if name in wide else np.float16)
        np.testing.assert_allclose(found[name], expected[name], rtol=0.02, atol=0.02)
    casts = [(each.input[0], each.attribute[0].i) for each in half.graph.node if each.op_type == "Cast"]
    assert len(casts) == len(set(casts))


# ---------------------------------------------------------------------------------------------------------------------
# Emulation


def test_emulation_rounds_every_value():
    nodes = [node("Mul", ["x", "k"], "a"), node("Add", ["a", "k"], "b"), node("Mul", ["b", "b"], "y")]
    given = model(nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, {"k": np.float32(0.3333)})
    x = np.float32([0.777, 1.234, 5.678, 100.1])
    h, k = x.astype(np.float16), np.float16(0.3333)
    found = run(emulated(to_fp16(given)), x=x)["y"]
    np.testing.assert_array_equal(found, ((h * k + k) * (h * k + k)).astype(np.float32))
    assert not np.array_equal(found, run(given, x=x)["y"])


def test_emulation_does_not_round_what_is_kept():
    nodes = [node("Mul", ["x", "k"], "a"), node("Add", ["a", "k"], "y")]
    given = model(nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, {"k": np.float32(0.3333)})
    x = np.float32([0.777, 1.234, 5.678, 100.1])
    found = run(emulated(to_fp16(given, keep("a", "y"), ["x", "y"])), x=x)
    np.testing.assert_array_equal(found["y"], run(given, x=x)["y"])


def test_emulation_overflows():
    given = model([node("Mul", ["x", "x"], "a"), node("Sqrt", ["a"], "y")], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    x = np.float32([300])
    assert run(given, x=x)["y"] == 300
    assert run(emulated(to_fp16(given)), x=x)["y"] == np.inf
    assert run(emulated(to_fp16(given, keep("a", "y"))), x=x)["y"] == 300


# ---------------------------------------------------------------------------------------------------------------------
# Rules


def inferred(model: ModelProto) -> Graph:
    graph = Graph(model)
    infer_shapes(graph)
    return graph


def test_a_stem_goes_by_convolutions():
    graph = inferred(network())
    assert stem(0)(graph) == set()
    assert stem(1)(graph) == {"a", "b", "c", "d", "e"}
    assert stem(2)(graph) == {"a", "b", "c", "d", "e", "f", "y"}


def test_a_stem_begins_with_what_leads_to_it():
    nodes = [
        node("Sub", ["x", "k"], "a"),
        node("Conv", ["a", "w"], "b"),
        node("Conv", ["b", "w"], "c"),
        node("AveragePool", ["x"], "p", kernel_shape=[5, 5]),
        node("Add", ["c", "p"], "y"),
    ]
    weights = {"w": picture(1, [4, 4, 3, 3]), "k": np.float32(0.5)}
    graph = inferred(model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, [1, 4, 2, 2])}, weights))
    assert stem(0)(graph) == {"a"}
    assert stem(1)(graph) == {"a", "b"}


def test_a_head_ends_with_what_follows_it():
    graph = inferred(network())
    assert head(0)(graph) == {"y"}
    assert head(1)(graph) == {"f", "y"}
    assert head(2)(graph) == {"a", "b", "c", "d", "e", "f", "y"}


def test_offsets_go_by_what_convolutions_add():
    """Between two that add much everything is kept; before the first and after the last of them nothing is."""
    nodes = [
        node("Relu", ["x"], "a"),
        node("Conv", ["a", "w", "much"], "b"),
        node("Relu", ["b"], "c"),
        node("Concat", ["c", "x"], "d", axis=1),
        node("Conv", ["d", "v", "much"], "e"),
        node("Relu", ["e"], "f"),
        node("Conv", ["f", "w", "little"], "g"),
        node("Neg", ["g"], "h"),
        node("Conv", ["h", "w"], "y"),
    ]
    weights = {"w": picture(1, [4, 4, 1, 1]), "v": picture(2, [4, 8, 1, 1])}
    weights |= {"much": np.array([1, 0, -50, 2], np.float32), "little": np.array([1, 0, -5, 2], np.float32)}
    graph = inferred(model(nodes, {"x": (FLOAT, SHAPE)}, {"y": (FLOAT, SHAPE)}, weights))
    assert offsets(50)(graph) == set()
    assert offsets(32)(graph) == {"b", "c", "d", "e"}
    assert offsets(4)(graph) == {"b", "c", "d", "e", "f", "g"}


def test_sums_go_by_the_number_of_terms():
    nodes = [
        node("GlobalAveragePool", ["x"], "a"),
        node("ReduceMean", ["x"], "b", axes=[1]),
        node("InstanceNormalization", ["x", "k", "k"], "c"),
        node("ReduceMean", ["x"], "d", axes=[0, 1, 2, 3]),
    ]
    outputs = {"a": [1, 4, 1, 1], "b": [1, 1, 6, 6], "c": SHAPE, "d": [1, 1, 1, 1]}
    described = {name: (FLOAT, shape) for name, shape in outputs.items()}
    graph = inferred(model(nodes, {"x": (FLOAT, SHAPE)}, described, {"k": np.ones(4, np.float32)}))
    assert sums(3)(graph) == {"a", "b", "c", "d"}
    assert sums(4)(graph) == {"a", "c", "d"}
    assert sums(36)(graph) == {"d"}
    assert together(sums(36), keep("b"))(graph) == {"b", "d"}


# ---------------------------------------------------------------------------------------------------------------------
# Real networks


@pytest.fixture(scope="module")
def rvm() -> ModelProto:
    return importing.read(models.model("rvm-mobilenetv3"), size=(176, 144), downsample_ratio=1.0)


def test_the_rule_of_rvm_costs_little(rvm):
    (stage,) = cut(rvm)[1]
    half = to_fp16(stage, rule_of(registry.keep_fp32("rvm")))
    onnx.checker.check_model(half, full_check=True)
    kept = rule_of(registry.keep_fp32("rvm"))(inferred(stage))
    assert 0 < len(kept) < 0.15 * len(stage.graph.node)
    assert {each.type.tensor_type.elem_type for each in (*half.graph.input, *half.graph.output)} == {HALF}
    casts = [(each.input[0], each.attribute[0].i) for each in half.graph.node if each.op_type == "Cast"]
    assert len(casts) == len(set(casts)) < len(kept)


def test_rvm_in_float16_over_a_film(rvm):
    exact, half = StagedRunner(rvm, ("pha",)), StagedRunner(rvm, ("pha",))
    (stage,) = cut(rvm)[1]
    half.networks = {
        "network-0": Network(emulated(to_fp16(stage, rule_of(registry.keep_fp32("rvm")))).SerializeToString(), 2)
    }
    errors = []
    for frame in itertools.islice(models.clip(), 12):
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1))[None]
        errors.append(np.abs(half(frame=planes)["pha"] - exact(frame=planes)["pha"]))
    assert 0 < np.mean(errors) < 2e-4
    assert np.max(errors) < 0.03


def test_a_whole_trtmatte_graph(rvm):
    """For a single plan the graph is converted with our ops in it; they stay as they are."""
    wide = [each.name for each in (*rvm.graph.input, *rvm.graph.output) if each.name.startswith("r")]
    exact, half = WholeRunner(rvm), WholeRunner(to_fp16(rvm, rule_of(registry.keep_fp32("rvm")), [*wide, BACKGROUND]))
    frame = np.ascontiguousarray(next(models.clip()).transpose(2, 0, 1))[None]
    expected, found = exact(frame=frame), half(frame=frame)
    assert np.abs(found["pha"] - expected["pha"]).mean() < 2e-4
    assert not np.array_equal(found["r1o"], expected["r1o"])
    np.testing.assert_allclose(found["r1o"], expected["r1o"], atol=0.02)


@pytest.mark.parametrize("name", ["modnet", "bgmv2_base_mobilenetv2", "u2netp", "rvm_resnet50"])
def test_every_family_has_a_rule_that_converts(name):
    family = reference.family(name)
    size = (64, 64) if family != "bgmv2" else (64, 48)
    chosen = registry.family(family).checked({"input_size": size} if family in ("modnet", "u2net") else {})
    _, stages = cut(registry.family(family).from_network(reference.network(name), name, size, 1, chosen))
    for stage in stages:
        half = to_fp16(stage, rule_of(registry.keep_fp32(family)))
        onnx.checker.check_model(half, full_check=True)
        assert len(rule_of(registry.keep_fp32(family))(inferred(stage))) < 0.3 * len(stage.graph.node)


def test_networks_nobody_knows_keep_nothing_but_sums():
    assert rule_of(registry.keep_fp32("generic"))(inferred(network())) == nothing(inferred(network()))
