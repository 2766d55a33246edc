"""A model that is built in no time, without PyTorch."""

from __future__ import annotations

import numpy as np
import onnx


def shrinking(weight: float = 0.5) -> onnx.ModelProto:
    """One picture in, one alpha out, as a convolution: for the family generic."""
    kernel = np.full((1, 3, 3, 3), weight / 27, np.float32)
    node = onnx.helper.make_node("Conv", ["picture", "kernel"], ["alpha"], pads=[1, 1, 1, 1])
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 16, 16])
        for name, channels in (("picture", 3), ("alpha", 1))
    ]
    graph = onnx.helper.make_graph(
        [node], "g", values[:1], values[1:], [onnx.numpy_helper.from_array(kernel, "kernel")]
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
