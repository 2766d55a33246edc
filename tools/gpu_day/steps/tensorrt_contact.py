"""The first contact with TensorRT: a convolution, our library in its registry, and a network for each plugin."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.ops.specification import agree, frame_attributes, maps, matte_attributes, picture, run
from tests.ops.test_patch_scatter import places
from tools.gpu_day.report import part
from trtmatte import plugins
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import bindings
from trtmatte.compiler.graph import functions as graph

Arrays = dict[str, np.ndarray[Any, Any]]

HEIGHT, WIDTH = 36, 52


def plugin_cases() -> dict[str, tuple[Arrays, dict[str, Any]]]:
    """The inputs and the attributes of the smallest network of each op. Pictures are float: bytes need casts around."""
    frame, plate = (picture(HEIGHT, WIDTH, 1, np.float32, seed) for seed in (0, 1))
    background = maps(3, 1, 1, seed=3).clip(0, 1)
    indices = places(40, 1, HEIGHT, WIDTH)
    pictures = frame_attributes(np.float32)
    matte = {**pictures, **matte_attributes(np.float32)}
    guide = {"A": maps(4, 9, 13, seed=4), "b": maps(4, 9, 13, seed=5)}
    patches = {"coarse": maps(4, 9, 13), "patches": maps(4, 4, 4, 40, seed=2), "indices": indices}
    sampling = {"height": 12, "width": 13, "step_y": [3, 1], "step_x": [4, 1], "method": 1}
    selecting = {"height": 9, "width": 13, "k": 30, "capacity": 30}
    cropped = {"maps": maps(36, 18, 26), "src": frame, "bgr": plate, "indices": indices}
    return {
        "FrameSample": ({"frame": frame}, {**sampling, **pictures}),
        "GuidedUpsample": ({"frame": frame, **guide, "background": background}, matte),
        "MatteUpsample": ({"frame": frame, "alpha": maps(1, 9, 13), "background": background}, matte),
        "PatchCrop": (cropped, {"kernel": 3, **pictures}),
        "PatchScatter": ({**patches, "frame": frame, "background": background}, matte),
        "PatchSelect": ({"err": maps(1, 9, 13)}, selecting),
    }


def plugin_network(op: str, inputs: Arrays, attributes: Mapping[str, Any]) -> onnx.ModelProto:
    """A model of one node, whose plugin TensorRT takes. Its inputs have the shapes of these arrays."""
    described = [
        (name, helper.np_dtype_to_tensor_dtype(inputs[name].dtype), inputs[name].shape) for name in graph.OPS[op].inputs
    ]
    return graph.model(op, described, list(graph.OPS[op].outputs), **attributes)


def versions() -> dict[str, Any]:
    import torch

    return {
        "tensorrt": tensorrt.version("tensorrt"),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def convolution() -> dict[str, Any]:
    """Without anything of ours: does TensorRT build and run here?"""
    weights = np.random.default_rng(1).standard_normal((8, 3, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 64, 64])
        for name, channels in (("x", 3), ("y", 8))
    )
    made = helper.make_graph([node], "convolution", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    given = {"x": np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, given)
    built, found = _built_and_run(model, given, None)
    worst = float(np.abs(found["y"] - expected).max())
    assert worst < 1e-3, f"the worst error is {worst}"
    return {"bytes": len(built.data), "worst": worst}


def registry() -> dict[str, Any]:
    """Our library in TensorRT's registry, loaded by TensorRT itself."""
    library = _library()
    known = bindings.load("tensorrt").get_plugin_registry()
    assert known.load_library(str(library)) is not None
    names = sorted(each.name for each in known.all_creators if each.plugin_namespace == "trtmatte")
    assert names == sorted(f"TrtMatte{op}" for op in graph.OPS), names
    return {"plugins": names}


def plugin(op: str) -> dict[str, Any]:
    """The plugin of an op against its function body on the CPU."""
    inputs, attributes = plugin_cases()[op]
    expected = run(op, inputs, **attributes)
    built, found = _built_and_run(plugin_network(op, inputs, attributes), inputs, _library())
    for name, value in expected.items():
        agree(found[name], value, scale=1.6, what=name)
    return {"bytes": len(built.data), "seconds to build": built.info.get("seconds")}


def _built_and_run(model: onnx.ModelProto, inputs: Arrays, library: Path | None) -> tuple[Any, Arrays]:
    from tools.gpu_day.steps.device_plan import DevicePlan

    with bindings.log("tensorrt").recorded() as errors:
        try:
            built = tensorrt.build_plan(model.SerializeToString(), target="tensorrt", plugins=library, verbose=True)
            return built, DevicePlan(built.data)(inputs)
        except Exception as error:
            raise RuntimeError("; ".join([str(error), *errors])) from error


def _library() -> Path:
    library = plugins.library_path()
    assert library is not None, "the plugin library was not built: TensorRT_ROOT names TensorRT's headers"
    return library


def main() -> int:
    done = [part("versions", versions), part("a convolution", convolution), part("the registry", registry)]
    done += [part(f"plugin {op}", functools.partial(plugin, op)) for op in graph.OPS]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
