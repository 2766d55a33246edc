"""A plan run frame by frame, on a stand-in for the plan and the device: states, replays, times."""

from __future__ import annotations

import ctypes
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Tensor
from trtmatte.format.stages import State

torch = pytest.importorskip("torch")

STATES = (State("memory", "memory", "memory_next"),)
TENSORS = {
    "frame": Tensor("uint8", (1, 2, 3), True),
    "memory": Tensor("float16", (1, 2, 3), True),
    "memory_next": Tensor("float16", (1, 2, 3), False),
    "pha": Tensor("uint8", (1, 2, 3), False),
}


class Plan:
    """A plan whose output is the sum of all frames so far."""

    tensors = TENSORS
    scratch_size = 1000

    def __init__(self, data: bytes, *, target: str, name: str) -> None:
        self.enqueued = 0

    def context(self) -> Plan:
        return self

    def use_scratch(self, address: int, size: int) -> None:
        assert address % 256 == 0
        assert size >= self.scratch_size

    def bind(self, addresses: dict[str, int]) -> None:
        self._arrays = {}
        for name, tensor in TENSORS.items():
            size = np.dtype(tensor.dtype).itemsize * int(np.prod(tensor.shape))
            memory: Any = (ctypes.c_char * size).from_address(addresses[name])
            self._arrays[name] = np.frombuffer(memory, tensor.dtype).reshape(tensor.shape)

    def enqueue(self, cuda_stream: int) -> None:
        self.enqueued += 1
        arrays = self._arrays
        arrays["memory_next"][...] = arrays["memory"] + arrays["frame"]
        arrays["pha"][...] = arrays["memory_next"]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    from tools.gpu_day.steps import device_plan

    clock = iter(range(10_000))
    event = SimpleNamespace(elapsed_time=lambda other: 0.5, record=lambda: next(clock))
    stream = SimpleNamespace(cuda_stream=1, synchronize=lambda: None)
    made: list[Any] = []
    graph = SimpleNamespace(replay=lambda: made[0]._frame())
    cuda = SimpleNamespace(
        Stream=lambda: stream,
        Event=lambda enable_timing: event,
        CUDAGraph=lambda: graph,
        graph=lambda *_, **__: nullcontext(),
        stream=lambda _: nullcontext(),
        synchronize=lambda: None,
    )

    class Torch:
        """torch without a device."""

        def __getattr__(self, name: str) -> Any:
            if name == "cuda":
                return cuda
            made_on_host = getattr(torch, name)
            if name not in ("zeros", "empty"):
                return made_on_host
            return lambda shape, dtype, device: made_on_host(shape, dtype=dtype)

    monkeypatch.setattr(device_plan, "torch", Torch())
    monkeypatch.setattr(tensorrt, "LoadedPlan", Plan)
    made.append(device_plan.DevicePlan(b"", STATES))
    return made[0]


FRAMES = [{"frame": np.full((2, 3), value, np.uint8)} for value in (1, 2, 3)]


def test_states_go_from_frame_to_frame(plan: Any) -> None:
    found = [plan(each) for each in FRAMES]
    assert [set(each) for each in found] == [{"pha"}] * 3, "states are no outputs"
    assert [int(each["pha"].max()) for each in found] == [1, 3, 6]


def test_replays_begin_with_the_first_state(plan: Any) -> None:
    plan(FRAMES[2])
    assert [int(each["pha"].min()) for each in plan.captured(FRAMES)] == [1, 3, 6]


def test_times(plan: Any) -> None:
    assert plan.times() == {"enqueued ms": 0.5, "enqueued ms, least": 0.5, "graph ms": 0.5, "graph ms, least": 0.5}
