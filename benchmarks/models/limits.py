"""The lower limits of a time: the machine's speed at copying and multiplying, and the amount of work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

import trtmatte
from trtmatte.format.stages import PATCHES
from trtmatte.reports.profile import copy_seconds

_SIDE: Final = {"cpu": 1024, "cuda": 8192}  # of the matrices
_COPIED: Final = 256 * 2**20  # bytes, far more than a cache holds
_ROUNDS: Final = 5


def limits(device: str) -> dict[str, float]:
    """Operations a second of a matrix product (float32 on the CPU, float16 on CUDA), bytes a second of a large copy."""
    if device == "cpu":
        a, b = np.random.default_rng(0).random((2, _SIDE["cpu"], _SIDE["cpu"]), np.float32)
        copies = {"copy": _COPIED / copy_seconds(_COPIED), "copy_one_thread": _COPIED / copy_seconds(_COPIED, 1)}
        return {"flops": 2 * _SIDE["cpu"] ** 3 / _median(lambda: a @ b), **copies}
    import torch

    c = torch.rand(_SIDE["cuda"], _SIDE["cuda"], dtype=torch.float16, device=device)
    source, target = (torch.zeros(_COPIED // 2, dtype=torch.uint8, device=device) for _ in range(2))
    product = _median(lambda: (c @ c, torch.cuda.synchronize()))
    copy = _median(lambda: (target.copy_(source), torch.cuda.synchronize()))
    return {"flops": 2 * _SIDE["cuda"] ** 3 / product, "copy": _COPIED / copy}


def flops(engine: Path) -> dict[str, float]:
    """Operations of each network stage: its convolutions and matrix products, two for each multiplication."""
    import onnx

    loaded = trtmatte.load(engine)
    program = loaded.program
    found = {}
    for stage in program.networks:
        model = onnx.load_from_string(bytes(loaded.network(stage.name)))
        for value in model.graph.input:
            for size in value.type.tensor_type.shape.dim:
                if size.dim_param == PATCHES:
                    size.dim_value = program.capacity
        for value in (*model.graph.output, *model.graph.value_info):
            value.type.tensor_type.ClearField("shape")
        del model.graph.value_info[:]
        found[stage.name] = float(_operations(onnx.shape_inference.infer_shapes(model).graph))
    return found


def _operations(graph: Any) -> int:
    weights = {each.name: list(each.dims) for each in graph.initializer}
    shapes = {
        each.name: [size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*graph.value_info, *graph.output)
    }
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm") and node.input[1] in weights:
            weight = weights[node.input[1]]
            each = weight[1:] if node.op_type == "Conv" else weight[:1]  # what one value of the output is a sum of
            total += 2 * int(np.prod(shapes[node.output[0]])) * int(np.prod(each))
    return total


def _median(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(_ROUNDS + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
