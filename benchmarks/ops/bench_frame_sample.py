"""FrameSample: from a uint8 frame to the small float tensor that a network sees."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race
from tests.ops.specification import METHODS, agree, picture
from trtmatte import _core, ops


def numpy_way(frame: np.ndarray, height: int, width: int):
    """The same without the op: convert, divide, transpose, and ONNX Runtime's Resize."""
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel"
    )
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 3, height, width])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, None, None]) for name in "xy")
    graph = helper.make_graph([node], "resize", [x], [y], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _core.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run() -> np.ndarray:
        planes = np.ascontiguousarray((frame.astype(np.float32) / 255).transpose(2, 0, 1)[None])
        return session.run(None, {"x": planes})[0]

    return run


@pytest.mark.parametrize(
    ("name", "size"), [("1080p", (1080, 1920)), ("1080p portrait", (1920, 1080)), ("4K", (2160, 3840))]
)
@pytest.mark.parametrize("method", METHODS)
def test_frame_sample(benchmark, place, name, size, method):
    """Linear, from 1080p: at most 1.5 ms or 1/20 of the numpy way, whichever is larger."""
    frame = picture(*size)
    height, width = (270, 480) if size[0] < size[1] else (480, 270)
    steps = {"step_y": [size[0] // height, 1], "step_x": [size[1] // width, 1]}
    settings = {"method": METHODS.index(method), "sigma": 3.0}
    reference = body("FrameSample", {"frame": frame[None]}, height=height, width=width, **steps, **settings)
    by_hand = numpy_way(frame, height, width)

    def bind() -> Call:
        out, on_place = place.put(np.empty((1, 3, height, width), np.float32)), place.put(frame)
        return lambda: ops.frame_sample(on_place, height, width, method=method, sigma=3.0, out=out, **place.options)

    out = bind()()
    agree(place.get(out), reference()["sample"])
    rivals = {"body": reference}
    if method == "linear":
        agree(by_hand(), place.get(out))
        rivals["numpy and Resize"] = by_hand
    read = min(1, 2 * height / size[0]) if method == "linear" else 1  # rows between two samples are not
    moved = round(frame.nbytes * read) + out.nbytes
    times = race(benchmark, place, f"FrameSample {name} {method}", bind, rivals, moved)
    if "numpy and Resize" in times and name == "1080p":
        assert times["trtmatte"] <= max(1.5e-3, times["numpy and Resize"] / 20)
