"""The cost of results that are the caller's, against a ring of three: fresh arrays, dropped or kept.

    python -m benchmarks.results_kept [--model NAME|FILE] [--frames N]

All ways take turns in one run, a frame each, on the CPU: a tiny network, whose frames are hardly more than their
results, and a known model. The numbers are medians of milliseconds a frame of 1080p, and of the difference to the ring.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import TensorProto, helper

import trtmatte

SIZE = (1920, 1080)
_WARM_UP = 12
WAYS = {  # the session's options, and how many of the last results are kept
    "ring=3": ({"ring": 3}, 1),
    "dropped": ({}, 1),
    "the last 10 kept": ({}, 10),
}
ALL_KEPT = "all kept, 20 at a time"


def tiny(folder: Path) -> trtmatte.Engine:
    """Its alpha is the mean of the colours."""
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 270, 480])
    alpha = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 1, 270, 480])
    nodes = [helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1], keepdims=1)]
    graph = helper.make_graph(nodes, "mean", [picture], [alpha])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "mean.onnx")
    return trtmatte.build(folder / "mean.onnx", family="generic", size=SIZE, target="onnxruntime")


def measured(engine: trtmatte.Engine, frames: int) -> dict[str, np.ndarray]:
    """Milliseconds of each frame, by way."""
    pictures = [np.random.default_rng(seed).integers(0, 256, (*SIZE[::-1], 3), np.uint8) for seed in range(3)]
    ways = {**WAYS, ALL_KEPT: ({}, None)}
    sessions = {name: engine.session(device="cpu", **options) for name, (options, _) in ways.items()}
    kept: dict[str, deque] = {name: deque(maxlen=count) for name, (_, count) in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    chance = np.random.default_rng(0)
    for index in range(frames + _WARM_UP):
        for name in chance.permutation(list(ways)):  # each in the caches that another one leaves
            if len(kept[ALL_KEPT]) == 20:
                kept[ALL_KEPT].clear()
            began = perf_counter()
            kept[name].append(sessions[name](pictures[index % 3]))
            times[name].append(1000 * (perf_counter() - began))
    return {name: np.array(each[_WARM_UP:]) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="rvm-mobilenetv3", help="a known model, or a file (%(default)s)")
    parser.add_argument("--frames", type=int, default=200, help="frames of each way (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines = {
            "a tiny network": tiny(Path(folder)),
            Path(args.model).stem: trtmatte.build(args.model, size=SIZE, target="onnxruntime"),
        }
        print("| | " + " | ".join([*WAYS, ALL_KEPT]) + " |")
        print("|---|" + "---|" * (len(WAYS) + 1))
        for title, engine in engines.items():
            times = measured(engine, args.frames)
            ring = times["ring=3"]
            cells = [f"{np.median(each):.2f} ms ({np.median(each - ring):+.2f})" for each in times.values()]
            print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
