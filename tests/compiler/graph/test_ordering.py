"""Files whose nodes stand in a wrong order, as converters to float16 leave them, and files without any order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.ordering import ordered, sort, subgraphs
from trtmatte.errors import ModelError


def shuffled(graph: GraphProto, seed: int = 0) -> None:
    for node in graph.node:
        for body in subgraphs(node):
            shuffled(body, seed)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    random.Random(seed).shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def model_of(nodes: list[Any], kind: int = TensorProto.FLOAT) -> ModelProto:
    x, y = (helper.make_tensor_value_info(name, kind, [3]) for name in ("x", "y"))
    weights = [numpy_helper.from_array(np.array([2.0], np.float16 if kind == TensorProto.FLOAT16 else np.float32), "w")]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def branching(kind: int) -> ModelProto:
    """An If whose branches read values of the graph around them, and have constants of their own."""
    half = helper.make_tensor("half", kind, [1], np.array([0.5]).tolist())
    bodies = {
        name: helper.make_graph(
            [
                helper.make_node("Constant", [], [f"{name}_half"], value=half),
                helper.make_node(operator, ["twice", f"{name}_half"], [f"{name}_moved"]),
                helper.make_node("Mul", [f"{name}_moved", "w"], [f"{name}_out"]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", kind, [3])],
        )
        for name, operator in (("then", "Add"), ("else", "Sub"))
    }
    return model_of(
        [
            helper.make_node("Mul", ["x", "w"], ["twice"]),
            helper.make_node("ReduceSum", ["twice"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["sum32"], to=TensorProto.FLOAT),
            helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])),
            helper.make_node("Greater", ["sum32", "zero"], ["positive"]),
            helper.make_node("If", ["positive"], ["y"], then_branch=bodies["then"], else_branch=bodies["else"]),
        ],
        kind,
    )


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16], ids=["float32", "float16"])
def test_a_shuffled_file_with_branches_is_read(kind: int, seed: int, tmp_path: Path) -> None:
    model = branching(kind)
    x = np.array([1, 2, 3], np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    expected = run(model, x)
    shuffled(model.graph, seed)
    onnx.save(model, tmp_path / "model.onnx")
    graph = reading.load(tmp_path / "model.onnx")
    found = run(graph.model(), x.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("how", ["float32", "float16"])
def test_a_shuffled_rvm_is_the_same_model(how: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests import exports, reference
    from tests.program_runner import StagedRunner
    from trtmatte.compiler import importing

    model = exports.rvm(reference.network("rvm_mobilenetv3"))
    model = model if how == "float32" else exports.halved(model)
    onnx.save(model, tmp_path / "sorted.onnx")
    shuffled(model.graph)
    onnx.save(model, tmp_path / "model.onnx")
    settings: Any = {"size": (96, 64), "downsample_ratio": 0.5}
    one, other = (importing.read(tmp_path / name, **settings) for name in ("sorted.onnx", "model.onnx"))
    frame = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), np.uint8)
    for name, expected in StagedRunner(one)(frame=frame).items():
        np.testing.assert_allclose(StagedRunner(other)(frame=frame)[name], expected, rtol=0, atol=1e-5)


def test_sorted_nodes_stay_as_they_are() -> None:
    model = branching(TensorProto.FLOAT)
    before = model.SerializeToString()
    sort(model.graph)
    assert model.SerializeToString() == before


def test_a_long_chain_in_reverse() -> None:
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(5000)]
    assert ordered(nodes[::-1]) == nodes


CIRCLES = {
    "of two": [("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["y"])],
    "of one": [("Add", ["x", "a"], ["a"]), ("Relu", ["a"], ["y"])],
    "that no output needs": [("Relu", ["x"], ["y"]), ("Relu", ["b"], ["a"]), ("Relu", ["a"], ["b"])],
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_is_refused(case: str, tmp_path: Path) -> None:
    onnx.save(model_of([helper.make_node(*each) for each in CIRCLES[case]]), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx has nodes in a circle: the (Add|Relu) that makes [ab] reads"):
        reading.load(tmp_path / "model.onnx")


def test_a_circle_in_a_branch_is_refused(tmp_path: Path) -> None:
    model = branching(TensorProto.FLOAT)
    body = next(each.g for each in model.graph.node[-1].attribute if each.name == "then_branch")
    body.node[1].input[0] = "then_out"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"has nodes in a circle: the .* that makes then_"):
        reading.load(tmp_path / "model.onnx")
