"""The first contact with TensorRT: a convolution, our library in its registry, and a network for each plugin."""

from __future__ import annotations

import functools
import importlib
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
from trtmatte.backends.tensorrt.build import _load_plugins
from trtmatte.compiler.graph import functions as graph
from trtmatte.compiler.graph.functions import DOMAIN

Arrays = dict[str, np.ndarray[Any, Any]]

HEIGHT, WIDTH = 36, 52


def plugin_cases() -> dict[str, tuple[Arrays, dict[str, Any]]]:
    """The inputs and the attributes of the smallest network of each op. Pictures are float: bytes need casts around."""
    frame, plate = (picture(HEIGHT, WIDTH, 1, np.float32, seed) for seed in (0, 1))
    background = maps(3, 1, 1, seed=3).clip(0, 1)
    indices = places(40, 1, HEIGHT, WIDTH)
    pictures = frame_attributes(np.float32)
    matte = {**pictures, **matte_attributes(np.float32)}
    alpha = {"alpha": maps(1, 9, 13), "colours": maps(6, 128, 128, seed=6)}
    guide = {"A": maps(4, 9, 13, seed=4), "b": maps(4, 9, 13, seed=5)}
    patches = {"coarse": maps(4, 9, 13), "patches": maps(4, 4, 4, 40, seed=2), "indices": indices}
    sampling = {"height": 12, "width": 13, "step_y": [3, 1], "step_x": [4, 1], "method": 1}
    selecting = {"height": 9, "width": 13, "k": 30, "capacity": 30}
    cropped = {"maps": maps(36, 18, 26), "src": frame, "bgr": plate, "indices": indices}
    return {
        "ForegroundEstimate": ({"frame": frame, "alpha": maps(1, 9, 13)}, pictures),
        "FrameSample": ({"frame": frame}, {**sampling, **pictures}),
        "GuidedUpsample": ({"frame": frame, **guide, "background": background}, matte),
        "MatteUpsample": ({"frame": frame, **alpha, "background": background}, matte),
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
    """A convolution without anything of ours: does TensorRT itself build and run here?"""
    import torch

    trt: Any = importlib.import_module("tensorrt")
    model, inputs, expected = _convolution()
    log = bindings.log("tensorrt")
    with log.recorded() as errors:
        try:
            builder = trt.Builder(log.native)
            network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            assert trt.OnnxParser(network, log.native).parse(model)
            config = builder.create_builder_config()
            config.clear_flag(trt.BuilderFlag.TF32)
            data = builder.build_serialized_network(network, config)
            engine = trt.Runtime(log.native).deserialize_cuda_engine(data)
            context, stream = engine.create_execution_context(), torch.cuda.Stream()
            x, y = torch.from_numpy(inputs["x"]).cuda(), torch.zeros(expected.shape, device="cuda")
            torch.cuda.synchronize()
            assert context.set_tensor_address("x", x.data_ptr())
            assert context.set_tensor_address("y", y.data_ptr())
            assert context.execute_async_v3(stream.cuda_stream)
            stream.synchronize()
        except Exception as error:
            raise RuntimeError("; ".join([str(error), *errors])) from error
    worst = float(np.abs(y.cpu().numpy() - expected).max())
    assert worst < 1e-3, f"the worst error is {worst}"
    return {"bytes": data.nbytes, "worst": worst}


def _convolution() -> tuple[bytes, Arrays, np.ndarray[Any, Any]]:
    """A model, its input, and what the CPU makes of it."""
    weights = np.random.default_rng(1).standard_normal((8, 3, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 64, 64])
        for name, channels in (("x", 3), ("y", 8))
    )
    made = helper.make_graph([node], "convolution", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    inputs = {"x": np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return model, inputs, session.run(None, inputs)[0]


def registry() -> dict[str, Any]:
    """Our library in TensorRT's registry, loaded as a build does it."""
    module: Any = bindings.load("tensorrt")
    _load_plugins(module, _library())
    known = module.get_plugin_registry().all_creators
    names = sorted(each.name for each in known if each.plugin_namespace == DOMAIN)
    assert names == sorted(f"TrtMatte{op}" for op in graph.OPS), names
    return {"plugins": len(names)}


def plugin(op: str) -> dict[str, Any]:
    """The plugin of an op against its function body on the CPU."""
    from tools.gpu_day.steps.device_plan import DevicePlan

    inputs, attributes = plugin_cases()[op]
    expected = run(op, inputs, **attributes)
    model = plugin_network(op, inputs, attributes).SerializeToString()
    built = tensorrt.build_plan(model, target="tensorrt", name=op, plugins=_library())
    found = DevicePlan(built.data)(inputs)
    for name, value in expected.items():
        agree(found[name], value, scale=1.6, what=name)
    return {"bytes": len(built.data), "seconds to build": built.info.get("seconds")}


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
