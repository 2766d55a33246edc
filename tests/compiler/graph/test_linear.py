"""Convolutions without an activation between them are joined, and the results stay what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtmatte.compiler.graph.linear import join_linear
from trtmatte.compiler.graph.onnx_graph import Graph

RESIZE = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
SIZE = (11, 13)


class Writer:
    """A network of `picture` [1,3,11,13], `small` [1,8,4,5] and `pixel` [1,8,1,1]."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {"size": np.array([1, 8, *SIZE])}

    def conv(self, name: str, outputs: int, inputs: int, kernel: int, output: str, **settings: Any) -> str:
        arrays = {
            "w": self.rng.standard_normal((outputs, inputs, kernel, kernel)),
            "b": self.rng.standard_normal(outputs),
        }
        self.constants |= {f"{output}/{key}": array.astype(np.float32) for key, array in arrays.items()}
        return self.add(
            "Conv",
            [name, f"{output}/w", f"{output}/b"],
            output,
            pads=[kernel // 2] * 4 if kernel > 1 else None,
            **settings,
        )

    def add(self, kind: str, inputs: list[str], output: str, **settings: Any) -> str:
        kept = {key: value for key, value in settings.items() if value is not None}
        self.nodes.append(helper.make_node(kind, inputs, [output], **kept))
        return output

    def model(self) -> onnx.ModelProto:
        shapes = {"picture": [1, 3, *SIZE], "small": [1, 8, 4, 5], "pixel": [1, 8, 1, 1]}
        read = {name for node in self.nodes for name in node.input}
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
            if name in read
        ]
        result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
        weights = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "g", inputs, [result], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def result_of(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    given = {each.name: rng.standard_normal(each.shape).astype(np.float32) for each in session.get_inputs()}
    result: np.ndarray = session.run(None, given)[0]
    return result


def joined(writer: Writer) -> list[tuple[int, ...]]:
    """The shapes of the convolutions' weights afterwards; the results are compared."""
    model = writer.model()
    graph = Graph(writer.model())
    join_linear(graph)
    expected, actual = result_of(model), result_of(graph.model())
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    return sorted(graph.constants[node.input[1]].shape for node in graph.all("Conv"))


def test_a_head_moves_through_everything_before_it() -> None:
    """As BiRefNet's: one channel of enlarged features and of the picture, which two convolutions read."""
    writer = Writer()
    features = writer.conv("small", 8, 8, 3, "features")
    large = writer.add("Resize", [features, "", "", "size"], "large", **RESIZE)
    picture = writer.conv(writer.conv("picture", 16, 3, 3, "first"), 6, 16, 3, "second")
    writer.conv(writer.add("Concat", [large, picture], "both", axis=1), 1, 14, 1, "result")
    shapes = joined(writer)
    assert (1, 8, 3, 3) in shapes  # on the small features
    assert (1, 3, 5, 5) in shapes
    assert max(shape[0] for shape in shapes) == 16  # of the strips at the rim, which the two still compute


@pytest.mark.parametrize("kind", ["Expand", "Resize"])
def test_a_repeated_pixel_is_weighed_once(kind: str) -> None:
    writer = Writer()
    given = ["pixel", "size"] if kind == "Expand" else ["pixel", "", "", "size"]
    mean = writer.add(kind, given, "mean", **({} if kind == "Expand" else RESIZE))
    picture = writer.add("Relu", [writer.conv("picture", 8, 3, 3, "first")], "active")
    writer.conv(writer.add("Concat", [picture, mean], "both", axis=1), 5, 16, 1, "result")
    model = Graph(writer.model())
    join_linear(model)
    assert model.kinds() == {"Conv", "Relu", "Add"}
    assert joined(writer) == [(5, 8, 1, 1), (5, 8, 1, 1), (8, 3, 3, 3)]


def test_activations_and_other_readers_stay() -> None:
    writer = Writer()
    first = writer.conv("picture", 8, 3, 3, "first")
    second = writer.conv(writer.add("Relu", [first], "active"), 1, 8, 3, "second")
    writer.add("Add", [second, writer.conv(first, 1, 8, 1, "third")], "result")
    assert joined(writer) == [(1, 8, 1, 1), (1, 8, 3, 3), (8, 3, 3, 3)]


def test_what_would_be_more_work_stays() -> None:
    writer = Writer()
    writer.conv(writer.conv("picture", 4, 3, 3, "first"), 16, 4, 1, "result")
    assert joined(writer) == [(4, 3, 3, 3), (16, 4, 1, 1)]
