"""As much of `cuda.core` as sessions use, in the host's memory, and as careless about order as a GPU may be.

What is put on a stream is not done at once: streams advance in random turns, some hardly ever, held up by nothing but
the events that they wait for, and by the host only where it waits. A missing event shows as wrong values. What is
captured is not run at all, and run by each launch of its graph.
"""

from __future__ import annotations

import ctypes
import itertools
import random
import sys
import types
from collections import deque
from contextlib import contextmanager

import numpy as np


class Machine:
    """All streams, and who comes next."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.least = (1, 1e-2, 1e-4)[seed % 3]  # the weight of what hardly gets a turn
        self.streams: dict[int, Stream] = {}
        self.launches = 0
        self.live = 0  # bytes of device memory
        self.allocations = 0
        self.downloads = []  # addresses that were copied from the device, with their sizes
        self.on_device = {}
        self.current = "the caller's"  # context

    def stir(self) -> None:
        """Lets some of the work happen."""
        for _ in range(self.random.randrange(4)):
            self.step()

    def step(self) -> bool:
        ready = [stream for stream in self.streams.values() if stream.can_go_on()]
        if ready:  # some streams hardly get a turn
            self.random.choices(ready, [stream.weight for stream in ready])[0].go_on()
        return bool(ready)

    def until(self, reached) -> None:
        while not reached():
            assert self.step(), "a deadlock"


machine = Machine(0)


class Event:
    def __init__(self) -> None:
        self.recorded = self.reached = 0

    def sync(self) -> None:
        wanted = self.recorded
        machine.until(lambda: self.reached >= wanted)


class Stream:
    numbers = itertools.count(100)

    def __init__(self, number=None) -> None:
        self.handle = next(self.numbers) if number is None else number
        self.work = deque()
        self.captured = None
        self.weight = machine.random.choice((1, machine.least))
        machine.streams[self.handle] = self

    @staticmethod
    def from_handle(number):
        return machine.streams.get(number) or Stream(number)

    def put(self, work, ready=lambda: True) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self.work.append((ready, work))
        machine.stir()

    def can_go_on(self) -> bool:
        return bool(self.work) and self.work[0][0]()

    def go_on(self) -> None:
        self.work.popleft()[1]()

    def record(self, event=None):
        assert self.captured is None
        event = event or Event()
        event.recorded += 1
        mark = event.recorded
        self.put(lambda: setattr(event, "reached", mark))
        return event

    def wait(self, other) -> None:
        assert self.captured is None
        event = other.record() if isinstance(other, Stream) else other
        wanted = event.recorded
        self.put(lambda: None, lambda: event.reached >= wanted)

    def sync(self) -> None:
        assert self.captured is None
        machine.until(lambda: not self.work)

    def create_graph_builder(self):
        return GraphBuilder(self)


class GraphBuilder:
    can_capture = True

    def __init__(self, stream) -> None:
        self.stream = stream

    def begin_building(self, mode):
        assert mode == "thread_local"
        self.stream.captured = []

    def end_building(self):
        self.work, self.stream.captured = self.stream.captured, None
        if not self.can_capture:
            raise RuntimeError("the capture was invalidated")

    def complete(self):
        return Graph(self.work)

    def close(self) -> None:
        assert self.stream.captured is None


class Graph:
    def __init__(self, work) -> None:
        self.work = work

    def launch(self, stream) -> None:
        machine.launches += 1
        for each in self.work:
            stream.put(each)


class Buffer:
    def __init__(self, handle, size, owner=None, on_device=False) -> None:
        self.handle, self.size, self.owner, self.on_device = handle, size, owner, on_device
        if on_device:
            machine.live += size
            machine.allocations += 1
            machine.on_device[handle] = size

    def __del__(self) -> None:
        if self.on_device:
            machine.live -= self.size
            machine.on_device.pop(self.handle, None)

    @staticmethod
    def from_handle(handle, size, owner=None):
        return Buffer(handle, size, owner)

    @classmethod
    def allocate(cls, size, on_device):
        memory = np.full(size + 256, 0xCD, np.uint8)
        return cls(memory.ctypes.data + -memory.ctypes.data % 256, size, memory, on_device)

    def copy_from(self, source, *, stream) -> None:
        assert self.size == source.size
        assert machine.current == "the session's"
        if _on_device(source.handle) and not _on_device(self.handle):
            machine.downloads.append((source.handle, source.size))
        stream.put(lambda: ctypes.memmove(self.handle, source.handle, self.size))

    def fill(self, value, *, stream) -> None:
        assert machine.current == "the session's"
        stream.put(lambda: ctypes.memset(self.handle, value, self.size))


def _on_device(address):
    return any(first <= address < first + size for first, size in machine.on_device.items())


class Device:
    def __init__(self, number) -> None:
        self.number = number

    def set_current(self) -> None:
        assert self.number == 0
        machine.current = "the session's"

    def create_stream(self):
        assert machine.current == "the session's"
        return Stream()

    def create_event(self):
        assert machine.current == "the session's"
        return Event()

    def allocate(self, size, *, stream):
        assert machine.current == "the session's"
        return Buffer.allocate(size, True)


class LegacyPinnedMemoryResource:
    def allocate(self, size):
        return Buffer.allocate(size, False)


@contextmanager
def installed(monkeypatch, seed=0):
    """`cuda.core` is this module, and the ops put their work on its streams."""
    from trtmatte import _core

    global machine
    machine = Machine(seed)
    core = types.ModuleType("cuda.core")
    for name in ("Buffer", "Device", "LegacyPinnedMemoryResource", "Stream"):
        setattr(core, name, globals()[name])
    driver = types.ModuleType("cuda.bindings.driver")
    driver.cuCtxGetCurrent = lambda: (0, machine.current)
    driver.cuCtxSetCurrent = lambda context: (setattr(machine, "current", context),)
    package, bindings = types.ModuleType("cuda"), types.ModuleType("cuda.bindings")
    package.core, package.bindings, bindings.driver = core, bindings, driver
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    for op in ("frame_sample", "guided_upsample", "matte_upsample", "patch_select", "patch_crop", "patch_scatter"):
        monkeypatch.setattr(_core, op, _on_its_stream(getattr(_core, op)))
    yield machine


def _on_its_stream(op):
    def put(*arguments, stream=None, **more):
        if stream is None:
            op(*arguments, **more)
        else:
            machine.streams[stream].put(lambda: op(*arguments, stream=stream, **more))

    return put


class Network:
    """ONNX Runtime on the CPU in the place of what runs on the device."""

    def __init__(self, model, index, number, patches) -> None:
        from trtmatte.backends import onnxruntime

        self._network = onnxruntime.Network(model, 1, patches)
        self._stream = machine.streams[number]
        self.dtypes = dict.fromkeys((*self._network.inputs, *self._network.outputs), "float32")

    capturable = True

    def can_capture(self):
        return self.capturable

    def bind(self, inputs, outputs):
        run = self._network.bind(
            {name: array._geometry for name, array in inputs.items()},
            {name: array._geometry for name, array in outputs.items()},
        )
        return lambda: self._stream.put(run)


class OnDevice:
    """A caller's array on the device, written and read on a stream of his."""

    def __init__(self, array, stream=None) -> None:
        array = np.asarray(array)
        self.buffer = Buffer.allocate(array.nbytes, True)
        memory = (ctypes.c_uint8 * array.nbytes).from_address(self.buffer.handle)
        self.values = np.frombuffer(memory, array.dtype).reshape(array.shape)
        self.stream = stream or Stream()
        kept = array.copy()
        self.stream.put(lambda: np.copyto(self.values, kept))

    @property
    def __cuda_array_interface__(self):
        return {**self.values.__array_interface__, "version": 3, "stream": self.stream.handle}

    def overwrite(self, array) -> None:
        kept = np.array(array)
        self.stream.put(lambda: np.copyto(self.values, kept))

    def get(self):
        self.stream.sync()
        return self.values.copy()
