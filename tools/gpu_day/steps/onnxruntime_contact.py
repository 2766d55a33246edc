"""The first contact with ONNX Runtime's CUDA provider, whose library was slimmed: does it load, and does it compute?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tools.gpu_day.report import part


def libraries() -> dict[str, Any]:
    """All libraries that the provider links to are found; libcuda.so.1 is the driver's."""
    provider = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    linked = subprocess.run(["ldd", provider], capture_output=True, text=True, check=True).stdout.splitlines()
    missing = [line.split()[0] for line in linked if "not found" in line]
    assert missing != ["libcuda.so.1"], "only libcuda.so.1 is missing: there is no NVIDIA driver"
    assert not missing, f"the provider needs {', '.join(missing)}"
    return {"libraries": len(linked)}


def convolution() -> dict[str, Any]:
    """A convolution on the device against the CPU."""
    weights = np.random.default_rng(1).standard_normal((8, 3, 3, 3), np.float32)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "convolution", [x], [y], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    given = {"x": np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)}
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"})
    session = onnxruntime.InferenceSession(model, providers=[provider], enable_fallback=0)  # the error as it is
    used = session.get_providers()
    assert used[0] == "CUDAExecutionProvider", f"the session runs on {used}"
    (found,) = session.run(None, given)
    (expected,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, given)
    worst = float(np.abs(found - expected).max())
    assert worst < 1e-3, f"the worst error is {worst}"
    return {"onnxruntime": onnxruntime.__version__, "worst": worst}


def main() -> int:
    return 0 if part("libraries", libraries) and part("a convolution", convolution) else 1


if __name__ == "__main__":
    raise SystemExit(main())
