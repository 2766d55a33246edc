"""The forms of DeformConv: time, memory and error of each, over the maps of BiRefNet-lite's decoder.

    python -m benchmarks.deform_conv                   the rows of docs/deform_conv.md
    python -m benchmarks.deform_conv --maps 64 --kernels 3

Each form has its own process, and every round gives each a turn, so that other load affects all alike. The error is the
largest difference from the definition in float64, by the largest value; it is computed for maps of up to 64x64.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx

from benchmarks import machine
from tests.compiler.graph.deforming import Case, as_node, decomposed
from trtmatte import _core
from trtmatte.backends import onnxruntime, openvino
from trtmatte.compiler.graph import deform_conv
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.specialise import specialise

FORMS: Final = {
    "OpenVINO, its own layer": (openvino, "node"),
    "OpenVINO, GridSample": (openvino, "sampled"),
    "OpenVINO, decomposed": (openvino, "decomposed"),
    "ONNX Runtime, its own layer": (onnxruntime, "node"),
    "ONNX Runtime, GridSample": (onnxruntime, "sampled"),
    "ONNX Runtime, decomposed": (onnxruntime, "decomposed"),
    "PyTorch, torchvision": (None, "torchvision"),
}
CHANNELS, OUTPUTS = 64, 256
_LARGEST_CHECKED: Final = 64


def case_of(side: int, kernel: int) -> Case:
    pads = (kernel // 2, kernel // 2)
    return Case((side, side), 1, CHANNELS, OUTPUTS, (kernel, kernel), pads=pads, bias=False)


def model_of(form: str, case: Case, arrays: Mapping[str, Any]) -> bytes:
    if form == "decomposed":
        return decomposed(case, dict(arrays)).SerializeToString()
    model = as_node(case, dict(arrays))
    if form == "node":
        return model.SerializeToString()
    graph = Graph(model)
    specialise(graph, {})
    return deform_conv.sampled(graph.model()).SerializeToString()


def call_of(form: str, case: Case) -> tuple[Callable[[], object], np.ndarray[Any, Any]]:
    """The call that computes the result, and the array that has it afterwards."""
    library, kind = FORMS[form]
    arrays = case.arrays()
    made = np.empty((1, OUTPUTS, *case.result), np.float32)
    if library is None:
        return _torchvision(case, arrays, made), made
    network = library.Network(model_of(kind, case, arrays), _core.get_num_threads(), 0)
    return network.bind({name: arrays[name] for name in ("x", "offset", "mask")}, {"y": made}), made


def _torchvision(case: Case, arrays: Mapping[str, Any], made: np.ndarray[Any, Any]) -> Callable[[], object]:
    import torch
    from torchvision.ops import deform_conv2d  # type: ignore[import-not-found]

    torch.set_num_threads(_core.get_num_threads())
    x, offset, weights, mask = (torch.from_numpy(arrays[name]) for name in ("x", "offset", "weights", "mask"))
    to = torch.from_numpy(made)

    def run() -> None:
        with torch.inference_mode():
            to.copy_(deform_conv2d(x, offset, weights, padding=case.pads, mask=mask))

    return run


# ---------------------------------------------------------------------------------------------------------------------
# Processes


def serve(form: str, side: int, kernel: int) -> None:
    """Compute once for each line of the standard input, and answer with the seconds; first with memory and error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    case = case_of(side, kernel)
    run, made = call_of(form, case)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = None
    if side <= _LARGEST_CHECKED:
        expected = case.reference(case.arrays())
        error = float(np.abs(made - expected).max() / np.abs(expected).max())
    print(json.dumps({"megabytes": (after - before) / 1024, "error": error}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, file=answers, flush=True)


class Contender:
    def __init__(self, form: str, side: int, kernel: int) -> None:
        command = [sys.executable, "-m", "benchmarks.deform_conv", "--serve", form, str(side), str(kernel)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []
        self.facts: dict[str, float | None] = json.loads(self._line())

    def _line(self) -> str:
        assert isinstance(self._process.stdout, io.TextIOBase)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("it ended")
        return line

    def turn(self) -> None:
        assert isinstance(self._process.stdin, io.TextIOBase)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(float(self._line()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measured(side: int, kernel: int, rounds: int) -> dict[str, dict[str, float | None]]:
    contenders: dict[str, Contender] = {}
    for form in FORMS:
        try:
            contenders[form] = Contender(form, side, kernel)
        except RuntimeError:  # torchvision is not installed, or the runtime is too old
            print(f"{form}: not measured", file=sys.stderr)
    for number in range(rounds):
        for contender in list(contenders.values())[:: 1 if number % 2 else -1]:
            contender.turn()
    for contender in contenders.values():
        contender.close()
    return {form: {"ms": 1e3 * min(each.seconds), **each.facts} for form, each in contenders.items()}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.deform_conv", description=__doc__)
    parser.add_argument("--maps", type=int, nargs="*", default=[32, 64, 128, 256], help="sides of the maps")
    parser.add_argument("--kernels", type=int, nargs="*", default=[1, 3, 7])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        form, side, kernel = options.serve
        serve(form, int(side), int(kernel))
        return
    print(f"{machine.processor()}, {machine.processors()} cores, onnx {onnx.__version__}\n")
    print("| map | kernel | form | ms | ratio | MB | largest error |\n|---|---|---|---|---|---|---|")
    for side in options.maps:
        for kernel in options.kernels:
            found = measured(side, kernel, options.rounds)
            fastest = min(facts["ms"] or 0 for facts in found.values())
            for form, facts in found.items():
                error = "" if facts["error"] is None else f"{facts['error']:.1e}"
                ms = facts["ms"] or 0
                print(
                    f"| {side}x{side} | {kernel}x{kernel} | {form} | {ms:.1f} | {ms / fastest:.2f} "
                    f"| {facts['megabytes']:.0f} | {error} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
