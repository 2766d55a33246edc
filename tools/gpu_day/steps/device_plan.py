"""A plan on the device, with tensors of torch: run frame by frame, captured into a CUDA graph, and timed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from trtmatte.backends import tensorrt
from trtmatte.format.stages import State

_ALIGNMENT = 256
_RUNS = 200

Arrays = Mapping[str, np.ndarray[Any, Any]]


class DevicePlan:
    """A loaded plan. Its states begin as zeros; after each frame the new states become the old ones."""

    def __init__(self, data: bytes, states: Sequence[State] = ()) -> None:
        self._plan = tensorrt.LoadedPlan(data, target="tensorrt", name="the plan")
        self._context = self._plan.context()
        self._stream = torch.cuda.Stream()
        self._states = states
        self._tensors = {
            name: torch.zeros(each.shape, dtype=getattr(torch, each.dtype), device="cuda")
            for name, each in self._plan.tensors.items()
        }
        scratch = torch.empty(self._plan.scratch_size + _ALIGNMENT, dtype=torch.uint8, device="cuda")
        self._scratch = scratch  # kept alive
        begin = -(-scratch.data_ptr() // _ALIGNMENT) * _ALIGNMENT
        self._context.use_scratch(begin, self._plan.scratch_size)
        self._context.bind({name: each.data_ptr() for name, each in self._tensors.items()})
        torch.cuda.synchronize()

    def layers(self) -> list[Any]:
        """The layers as the engine inspector describes them."""
        return self._plan.layers()

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Run one frame, not captured. Returns all outputs but the states."""
        self._put(inputs)
        with torch.cuda.stream(self._stream):
            self._frame()
        return self._outputs()

    def captured(self, inputs: Sequence[Arrays]) -> list[dict[str, np.ndarray[Any, Any]]]:
        """Run frames from the first state on, as replays of one captured graph."""
        self.reset()
        self._put(inputs[0])
        graph = self._graph()
        self.reset()
        results = []
        for each in inputs:
            self._put(each)
            with torch.cuda.stream(self._stream):
                graph.replay()
            results.append(self._outputs())
        return results

    def times(self) -> dict[str, float]:
        """Milliseconds of a frame on the device, transfers excluded: enqueued by TensorRT, and as a captured graph."""
        graph = self._graph()
        ways = {"enqueued": self._frame, "graph": graph.replay}
        found: dict[str, float] = {}
        for name, run in ways.items():
            events = [torch.cuda.Event(enable_timing=True) for _ in range(_RUNS + 1)]
            with torch.cuda.stream(self._stream):
                for _ in range(20):
                    run()
                for event in events:
                    event.record()
                    run()
            self._stream.synchronize()
            spent = [one.elapsed_time(other) for one, other in itertools.pairwise(events)]
            found |= {f"{name} ms": round(float(np.median(spent)), 4), f"{name} ms, least": round(min(spent), 4)}
        return found

    def reset(self) -> None:
        for state in self._states:
            self._tensors[state.input].zero_()
        torch.cuda.synchronize()

    def _graph(self) -> Any:
        with torch.cuda.stream(self._stream):
            self._frame()  # does what TensorRT puts off until the first run
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._frame()
        return graph

    def _frame(self) -> None:
        self._context.enqueue(self._stream.cuda_stream)
        for state in self._states:
            self._tensors[state.input].copy_(self._tensors[state.output])

    def _put(self, inputs: Arrays) -> None:
        for name, array in inputs.items():
            held = self._tensors[name]
            held.copy_(torch.from_numpy(np.ascontiguousarray(array)).reshape(held.shape))
        torch.cuda.synchronize()

    def _outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        self._stream.synchronize()
        states = {state.output for state in self._states}
        return {
            name: self._tensors[name].cpu().numpy().copy()
            for name, each in self._plan.tensors.items()
            if not each.is_input and name not in states
        }
