"""The passes over small graphs: shapes, folding, void nodes, branches, and the cut."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, parser

from trtmatte.compiler.graph import matching
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.matte_graph import (
    Spec,
    add_matte,
    add_op,
    add_picture,
    add_sample,
    assemble,
    with_layout,
)
from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.compiler.graph.specialise import fold_constants, specialise, static_shape
from trtmatte.errors import ModelError


def graph(body: str, signature: str = "float[B,3,H,W] x) => (float[N,C,P,Q] y", opset: int = 17) -> Graph:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> test ({signature}) {{ {body} }}')
    return Graph(model)


def run(model: ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: list[np.ndarray] = session.run(None, inputs)
    return result


def kinds(each: Graph) -> list[str]:
    return [node.op_type for node in each.nodes]


SIZES = """
    shape = Shape (x)
    start = Constant <value_ints = [2]> ()
    end = Constant <value_ints = [4]> ()
    size = Slice (shape, start, end)
    two = Constant <value_ints = [2]> ()
    half = Div (size, two)
    first = Constant <value_ints = [0]> ()
    planes = Slice (shape, first, start)
    sizes = Concat <axis = 0> (planes, half)
    small = Resize <mode = "linear"> (x, , , sizes)
    y = Relu (small)
"""


def test_sizes_become_constants():
    each = graph(SIZES)
    specialise(each, {"x": [1, 3, 10, 20]})
    assert kinds(each) == ["Resize", "Relu"]
    assert static_shape(each, "y") == (1, 3, 5, 10)
    assert each.constants[each.nodes[0].input[3]].tolist() == [1, 3, 5, 10]
    x = np.random.default_rng(0).random((1, 3, 10, 20), np.float32)
    np.testing.assert_array_equal(run(each.model(), x=x)[0], run(graph(SIZES).model(), x=x)[0])


@pytest.mark.parametrize("side", [3000, 1500, 1920, 1080, 999])
@pytest.mark.parametrize("scale", [512 / 3000, 512 / 1500, 0.7, 0.25, 0.3])
def test_scaled_sizes_are_those_of_onnx_runtime(side, scale):
    """In single precision 3000 * (512 / 3000) is 512, in double precision less."""
    body = f"scales = Constant <value = float[4] {{1, 1, {scale!r}, {scale!r}}}> ()"
    body += ' small = Resize <mode = "linear"> (x, , scales) y = Relu (small)'
    picture = np.zeros((1, 3, side, 8), np.float32)
    (expected,) = run(graph(body).model(), x=picture)
    each = graph(body)
    specialise(each, {"x": picture.shape})
    assert static_shape(each, "y") == expected.shape
    factors = matching.scales(each, each.nodes[0])
    assert factors is not None
    assert factors[2] == factors[3] == pytest.approx(scale, rel=1e-6)
    (result,) = run(each.model(), x=picture)
    assert result.shape == expected.shape


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (4, 4)])
def test_pools_are_no_larger_than_what_they_read(kind, shape):
    picture = np.random.default_rng(0).random((1, 3, *shape), np.float32)
    body = f"y = {kind} <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)"
    (expected,) = run(graph(body).model(), x=picture)
    each = graph(body)
    specialise(each, {"x": picture.shape})
    assert all(side <= most for side, most in zip(attributes(each.nodes[0])["kernel_shape"], shape, strict=True))
    (result,) = run(each.model(), x=picture)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Identity (x)  y = Relu (a)", ["Relu"]),
        ("a = Relu (x)  y = Identity (a)", ["Relu"]),
        ("a = Cast <to = 1> (x)  y = Relu (a)", ["Relu"]),
        ("s = Shape (x)  a = Expand (x, s)  y = Relu (a)", ["Relu"]),
        ("s = Shape (x)  a = Reshape (x, s)  y = Relu (a)", ["Relu"]),
        ("a = Transpose <perm = [0, 1, 2, 3]> (x)  y = Relu (a)", ["Relu"]),
        ("a = Transpose <perm = [1, 0, 2, 3]> (x)  y = Relu (a)", ["Transpose", "Relu"]),
        ("p = Constant <value_ints = [0,0,0,0,0,0,0,0]> ()  a = Pad (x, p)  y = Relu (a)", ["Relu"]),
        ("p = Constant <value_ints = [0,0,1,0,0,0,-1,0]> ()  a = Pad (x, p)  y = Relu (a)", ["Pad", "Relu"]),
        (
            """b = Constant <value_ints = [0]> ()
            e = Constant <value_ints = [99]> ()
            t = Constant <value_ints = [2]> ()
            a = Slice (x, b, e, t)
            y = Relu (a)""",
            ["Relu"],
        ),
        (
            """f = Constant <value_floats = [1.0, 1.0, 1.0, 1.0]> ()
            a = Resize <mode = "linear"> (x, , f)
            y = Relu (a)""",
            ["Relu"],
        ),
        (
            'f = Constant <value_floats = [1.0, 1.0, 1.05, 1.0]> ()  a = Resize <mode = "linear"> (x, , f)y = Relu (a)',
            ["Resize", "Relu"],
        ),
        ("y = Identity (x)", ["Identity"]),
    ],
)
def test_void_nodes_go_and_others_stay(body, left):
    each = graph(body)
    specialise(each, {"x": [1, 3, 4, 5]})
    assert kinds(each) == left
    assert list(each.outputs) == ["y"]
    x = np.random.default_rng(0).random((1, 3, 4, 5), np.float32)
    np.testing.assert_array_equal(run(each.model(), x=x)[0], run(graph(body).model(), x=x)[0])


def test_branches_of_a_constant_condition_are_chosen():
    body = """
    s = Shape (x)
    i = Constant <value_int = 1> ()
    c = Gather (s, i)
    three = Constant <value_int = 3> ()
    same = Equal (c, three)
    a = If (same) <
        then_branch = yes () => (p) { p = Relu (x) },
        else_branch = no () => (q) { q = Abs (x) }
    >
    y = Neg (a)
    """
    each = graph(body)
    specialise(each, {"x": [1, 3, 4, 5]})
    assert kinds(each) == ["Relu", "Neg"]


def test_constants_fold_whatever_the_input():
    each = graph("a = Constant <value_floats = [1.0, 2.0]> ()  b = Mul (a, a)  c = ReduceSum (b)  y = Mul (x, c)")
    fold_constants(each)
    assert kinds(each) == ["Mul"]
    assert each.constant("c") == 5


def test_equal_constants_become_one():
    sums = "a = Add(x, first) b = Add(a, second) c = Add(b, other) d = Add(c, small) e = Add(d, zeros)"
    made = graph(f"{sums} y = Add(e, minus)")
    weights = np.random.default_rng(0).random((3, 16, 24), np.float32)
    made.constants |= {"first": weights, "second": weights.copy(), "other": weights[::-1], "small": np.zeros(1, "f")}
    made.constants |= {"zeros": np.zeros((16, 24), "f"), "minus": -np.zeros((16, 24), "f")}
    x = np.zeros((1, 3, 16, 24), np.float32)
    (before,) = run(made.model(), x=x)
    specialise(made, {"x": (1, 3, 16, 24)})
    assert [node.input[1] for node in made.nodes] == ["first", "first", "other", "small", "zeros", "minus"]
    assert set(made.constants) == {"first", "other", "small", "zeros", "minus"}
    np.testing.assert_array_equal(run(made.model(), x=x)[0], before)


def test_values_get_out_of_the_way_of_new_names():
    each = graph("A = Relu (x)  t = Neg (A)  y = Add (A, t)")
    each.rename("t", "A")
    assert len({"A", *each.nodes[0].output}) == 2
    np.testing.assert_array_equal(run(each.model(), x=np.ones((1, 3, 1, 1), np.float32))[0], np.zeros((1, 3, 1, 1)))


def test_absorbed_graphs_keep_only_their_ends():
    one, other = (
        graph("t = Relu (x)  y = Neg (t)"),
        graph("t = Abs (y)  z = Neg (t)", "float[B,3,H,W] y) => (float[B,3,H,W] z"),
    )
    one.absorb(other)
    one.inputs.pop("y")
    one.outputs.pop("y")
    x = np.array([-1, 0, 2], np.float32).reshape(1, 3, 1, 1)
    assert run(one.model(), x=x)[0].ravel().tolist() == [0, 0, -2]


@pytest.mark.parametrize("opset", [11, 17])
def test_channels_are_found_through_split_and_slice(opset):
    split = "p, q = Split <axis = -3, split = [3, 1]> (x)" if opset == 11 else "n = Constant <value_ints = [3, 1]> ()"
    split += "" if opset == 11 else "  p, q = Split <axis = -3> (x, n)"
    each = graph(
        f"""{split}
        b = Constant <value_ints = [1]> ()
        e = Constant <value_ints = [9223372036854775807]> ()
        r = Slice (x, b, e, b)
        c = Identity (q)
        y = Add (c, r)""",
        opset=opset,
    )
    assert matching.channels(each, "p") == ("x", 0, 3)
    assert matching.channels(each, "c") == ("x", 3, 4)
    assert matching.channels(each, "r") == ("x", 1, None)
    assert matching.channels(each, "y") is None


SPEC = Spec("test", "small", (16, 8), 1)


def matting_graph(body: str) -> Graph:
    """FrameSample to half the size, a network, MatteUpsample."""
    each = graph(body, "float[1,3,4,8] small) => (float[1,1,4,8] alpha")
    each.inputs.clear()
    each.outputs.clear()
    add_picture(each, "frame", SPEC)
    add_sample(each, "frame", "small", SPEC, (8, 4))
    each.outputs = {"alpha": ValueInfoProto(name="alpha")}
    specialise(each, {})
    each.outputs.clear()
    add_matte(each, "MatteUpsample", ["frame", "alpha"], SPEC)
    return each


NETWORK = "a = Constant <value_ints = [1]> ()  s = ReduceSum (small, a)  alpha = Sigmoid (s)"


def test_the_cut():
    program, networks = cut(assemble(matting_graph(NETWORK), SPEC))
    assert [getattr(stage, "op", "network") for stage in program.stages] == ["FrameSample", "network", "MatteUpsample"]
    assert program.tensors["alpha"].shape == (1, 1, 4, 8)
    assert program.stages[0].attributes["step_x"] == (16, 8)
    assert not any(key.startswith(("frame_", "matte_", "plugin_")) for key in program.stages[0].attributes)
    assert [node.op_type for node in networks[0].graph.node] == ["ReduceSum", "Sigmoid"]
    assert run(networks[0], small=np.zeros((1, 3, 4, 8), np.float32))[0].shape == (1, 1, 4, 8)


def test_networks_that_read_full_frames_are_refused():
    each = matting_graph(NETWORK)
    each.add("Cast", ["frame"], "seen", to=TensorProto.FLOAT)
    each.outputs["seen"] = each.outputs["pha"]
    with pytest.raises(ModelError, match="network-0 reads frame"):
        cut(assemble(each, SPEC))


@pytest.mark.parametrize("outputs", [("pha",), ("composite", "rgba"), ("fgr", "pha", "rgba", "composite")])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_layouts_of_the_whole_graph(outputs, layout):
    model = assemble(matting_graph(NETWORK), SPEC)
    frame = np.random.default_rng(0).integers(0, 256, (1, 8, 16, 3), dtype=np.uint8)
    background = np.full((1, 3, 1, 1), 0.5, np.float32)
    results = run(
        with_layout(model, outputs=outputs, layout=layout, dtype="float16", color="bgr"),
        frame=frame,
        background=background,
    )
    depth = {"fgr": 3, "pha": 1, "rgba": 4, "composite": 3}
    for name, result in zip(outputs, results, strict=True):
        assert result.dtype == np.float16
        assert result.shape == ((1, 8, 16, depth[name]) if layout == "HWC" else (1, depth[name], 8, 16))


def test_the_form_for_tensorrt_gives_the_same():
    model = assemble(matting_graph(NETWORK), SPEC)
    frame = np.random.default_rng(0).integers(0, 256, (1, 8, 16, 3), dtype=np.uint8)
    inputs = {"frame": frame, "background": np.full((1, 3, 1, 1), 0.5, np.float32)}
    form = with_layout(model, outputs=("pha", "composite"), for_tensorrt=True)
    assert all(name for node in form.graph.node for name in node.output)
    for actual, expected in zip(
        run(form, **inputs), run(with_layout(model, outputs=("pha", "composite")), **inputs), strict=True
    ):
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_the_form_for_tensorrt_is_one_that_it_parses(dtype):
    tensorrt = pytest.importorskip("tensorrt_rtx")
    form = with_layout(assemble(matting_graph(NETWORK), SPEC), dtype=dtype, for_tensorrt=True)
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = tensorrt.Builder(logger).create_network(flags)
    parser_of_it = tensorrt.OnnxParser(network, logger)
    assert parser_of_it.parse(form.SerializeToString()), parser_of_it.get_error(0).desc()


def test_models_without_a_spec_are_no_trtmatte_graphs():
    with pytest.raises(ModelError, match="not a trtmatte graph"):
        cut(graph("y = Relu (x)").model())


def test_ops_must_describe_what_they_make():
    each = matting_graph(NETWORK)
    add_op(
        each, "FrameSample", ["frame"], {"other": (1, [1, 3, 2, 2])}, height=2, width=2, step_y=[1, 1], step_x=[1, 1]
    )
    assert static_shape(each, "other") == (1, 3, 2, 2)
