"""As much of `cuda.core` as sessions use, in the host's memory, and as careless about order as a GPU may be.

What is put on a stream is not done at once: streams advance in random turns, some hardly ever, held up by nothing but
the events that they wait for, and by the host only where it waits. A missing event shows as wrong values. What is
captured is not run at all, and run by each launch of its graph; what a capture forbids makes it invalid.

All names without an underscore are those of `cuda.core` (`test_fake_cuda.py`).
"""

from __future__ import annotations

import ctypes
import itertools
import random
import sys
import types
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from trtmatte.runtime.session.cuda.arrays import DeviceArray


class Machine:
    """All streams, and who comes next."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.least = (1, 1e-2, 1e-4)[seed % 3]  # the weight of what hardly gets a turn
        self.streams: dict[int, Stream] = {}
        self.launches = 0
        self.allocations = 0
        self.downloads = []  # addresses that were copied from the device, with their sizes
        self.on_device: dict[int, int] = {}  # the sizes of what was got there, by address
        self.pinned: dict[int, int] = {}
        self.memory: list[np.ndarray] = []
        self.current = "the caller's"  # context
        self.builders: list[GraphBuilder] = []  # what is being captured

    def stir(self) -> None:
        """Lets some of the work happen."""
        for _ in range(self.random.randrange(4)):
            self.step()

    def step(self) -> bool:
        ready = [stream for stream in self.streams.values() if stream._can_go_on()]
        if ready:  # some streams hardly get a turn
            self.random.choices(ready, [stream.weight for stream in ready])[0]._go_on()
        return bool(ready)

    def until(self, reached) -> None:
        while not reached():
            assert self.step(), "a deadlock"


machine = Machine(0)


def _not_captured(what) -> None:
    """A capture that somebody asks for this is lost, and whoever asks is told."""
    for builder in machine.builders:
        builder.invalid = True
    if machine.builders:
        raise RuntimeError(f"{what} is not permitted while a stream is captured")


def _entered() -> None:
    assert machine.current == "the session's"


class Event:
    def __init__(self) -> None:
        self.recorded = self.reached = 0

    def sync(self) -> None:
        _not_captured("waiting for an event")
        wanted = self.recorded
        machine.until(lambda: self.reached >= wanted)


class Stream:
    _numbers = itertools.count(100)

    def __init__(self, number=None) -> None:
        self.handle = next(self._numbers) if number is None else number
        self.work = deque()
        self.captured = None
        self.weight = machine.random.choice((1, machine.least))
        machine.streams[self.handle] = self

    @staticmethod
    def from_handle(handle):
        assert handle in machine.streams or handle in (1, 2), "nobody's stream"
        return machine.streams.get(handle) or Stream(handle)

    def _put(self, work, ready=lambda: True) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self.work.append((ready, work))
        machine.stir()

    def _can_go_on(self) -> bool:
        return bool(self.work) and self.work[0][0]()

    def _go_on(self) -> None:
        self.work.popleft()[1]()

    def record(self, event=None):
        assert self.captured is None
        event = event or Event()
        event.recorded += 1
        mark = event.recorded
        self._put(lambda: setattr(event, "reached", mark))
        return event

    def wait(self, event_or_stream) -> None:
        assert self.captured is None
        event = event_or_stream.record() if isinstance(event_or_stream, Stream) else event_or_stream
        wanted = event.recorded
        self._put(lambda: None, lambda: event.reached >= wanted)

    def sync(self) -> None:
        _not_captured("waiting for a stream")
        machine.until(lambda: not self.work)

    def create_graph_builder(self):
        return GraphBuilder(self)


class GraphBuilder:
    _can_capture = True

    def __init__(self, stream) -> None:
        self.state, self.invalid = "not started", False
        self.capturing = stream

    def begin_building(self, mode="relaxed"):
        assert (mode, self.state) == ("thread_local", "not started")
        self.state, self.capturing.captured = "capturing", []
        self.invalid = not self._can_capture
        machine.builders.append(self)
        return self

    def end_building(self):
        assert self.state == "capturing"
        if self.invalid:  # and goes on until it is closed
            raise RuntimeError("the capture has been invalidated")
        self._end()
        return self

    def complete(self, options=None):
        assert self.state == "ended"
        return Graph(self.work)

    def close(self):
        if self.state == "capturing":
            self._end()
            if self.invalid:
                raise RuntimeError("the capture that was ended had been invalidated")

    def _end(self) -> None:
        self.state = "ended"
        self.work, self.capturing.captured = self.capturing.captured, None
        machine.builders.remove(self)


class Graph:
    def __init__(self, work) -> None:
        self.work = work

    def launch(self, stream) -> None:
        machine.launches += 1
        for each in self.work:
            stream._put(each)


class Buffer:
    def __init__(self, handle, size, owner=None, memory=None) -> None:
        """`memory` is the kind that it was got from, to which it is given back."""
        self.handle, self.size, self.owner, self.memory = handle, size, owner, memory
        if memory is not None:
            memory[handle] = size

    def __del__(self) -> None:
        if self.memory is not None:
            del self.memory[self.handle]
            _not_captured("freeing memory")

    @staticmethod
    def from_handle(ptr, size, mr=None, owner=None):
        assert mr is None
        assert isinstance(ptr, int)
        return Buffer(ptr, size, owner)

    @classmethod
    def _allocate(cls, size, memory):
        raw = np.full(size + 256, 0xCD, np.uint8)
        machine.memory.append(raw)  # what is used after it was freed is an error of the test's to see, and no crash
        return cls(raw.ctypes.data + -raw.ctypes.data % 256, size, raw, memory)

    def copy_from(self, src, *, stream) -> None:
        assert self.size == src.size, "buffer sizes mismatch"
        _entered()
        if not all(_lies_in(each, machine.on_device) or _lies_in(each, machine.pinned) for each in (self, src)):
            _not_captured("copying memory that is not the driver's")
        if _lies_in(src, machine.on_device) and not _lies_in(self, machine.on_device):
            machine.downloads.append((src.handle, src.size))
        held = (self, src) if stream.captured is None else ()
        work = partial(ctypes.memmove, self.handle, src.handle, self.size)
        stream._put(lambda held=held: work())

    def fill(self, value, *, stream) -> None:
        assert 0 <= value < 256
        _entered()
        stream._put(lambda: ctypes.memset(self.handle, value, self.size))


def _lies_in(buffer, memory):
    return any(first <= buffer.handle and buffer.handle + buffer.size <= first + size for first, size in memory.items())


class Device:
    def __init__(self, device_id=None) -> None:
        self.number = device_id

    def set_current(self) -> None:
        assert self.number == 0
        machine.current = "the session's"

    def create_stream(self):
        _entered()
        return Stream()

    def create_event(self):
        _entered()
        return Event()

    def allocate(self, size, *, stream):
        _entered()
        _not_captured("getting memory")
        machine.allocations += 1
        return Buffer._allocate(size, machine.on_device)


class LegacyPinnedMemoryResource:
    def allocate(self, size):
        _entered()  # for it is freed there
        _not_captured("getting memory")
        return Buffer._allocate(size, machine.pinned)


class StridedMemoryView:
    def __init__(self, array=None) -> None:
        self.array, self.ptr, self.readonly = array, array.ctypes.data, not array.flags.writeable
        self.shape, self.dtype = array.shape, array.dtype
        self.strides = tuple(step // array.itemsize for step in array.strides)  # not in bytes

    @classmethod
    def from_buffer(cls, buffer, shape, *, dtype=None):
        memory = (ctypes.c_uint8 * buffer.size).from_address(buffer.handle)
        memory.owner = buffer
        return cls(np.frombuffer(memory, dtype).reshape(shape))

    @classmethod
    def from_dlpack(cls, obj, stream_ptr=None):
        return cls(np.from_dlpack(_OnHost(obj.__dlpack__(stream=stream_ptr, max_version=(1, 0)))))

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        _entered()  # where it asks the driver what memory this is
        assert dl_device is None
        assert not copy
        return self.array.__dlpack__(max_version=max_version)


class _OnHost:
    def __init__(self, capsule) -> None:
        self.capsule = capsule

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        return self.capsule


@contextmanager
def installed(monkeypatch, seed=0):
    """`cuda.core` is this module, and the ops put their work on its streams."""
    from trtmatte import _core

    global machine
    machine = Machine(seed)
    core = types.ModuleType("cuda.core")
    for name in ("Buffer", "Device", "LegacyPinnedMemoryResource", "Stream"):
        setattr(core, name, globals()[name])
    driver: Any = types.ModuleType("cuda.bindings.driver")
    driver.cuCtxGetCurrent = lambda: (0, machine.current)
    driver.cuCtxSetCurrent = lambda context: (setattr(machine, "current", context),)
    utils: Any = types.ModuleType("cuda.core.utils")
    utils.StridedMemoryView = StridedMemoryView
    package: Any = types.ModuleType("cuda")
    bindings: Any = types.ModuleType("cuda.bindings")
    package.core, package.bindings, bindings.driver = core, bindings, driver
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    monkeypatch.setitem(sys.modules, "cuda.core.utils", utils)
    for op in ("frame_sample", "guided_upsample", "matte_upsample", "patch_select", "patch_crop", "patch_scatter"):
        monkeypatch.setattr(_core, op, _on_its_stream(getattr(_core, op)))
    yield machine


def _on_its_stream(op):
    def put(*arguments, cuda_stream=None, **more):
        if cuda_stream is None:
            op(*arguments, **more)
            return
        on = machine.streams[cuda_stream]
        if on.captured is not None:
            arguments, more = _unowned(arguments), _unowned(more)
        on._put(lambda: op(*arguments, cuda_stream=cuda_stream, **more))

    return put


def _unowned(value):
    """Arrays as a graph knows them, by their addresses: whoever captures it has to keep them."""
    if isinstance(value, DeviceArray):
        return DeviceArray(value._strided, value.device.id, None, readonly=not value.flags.writeable)
    if isinstance(value, dict):
        return {name: _unowned(each) for name, each in value.items()}
    return tuple(map(_unowned, value)) if isinstance(value, tuple) else value


class _Located:
    def __init__(self, array) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (array.address, False),
            "shape": array.shape,
            "typestr": array.dtype.str,
            "strides": array.strides,
        }


def _seen_by_the_host(array):
    """A view of memory that stands for the device's."""
    return np.asarray(_Located(array))


class Network:
    """ONNX Runtime on the CPU in the place of what runs on the device."""

    def __init__(self, model, index, number, patches, *, tf32=False) -> None:
        from trtmatte.backends import onnxruntime, onnxruntime_cuda

        self._network = onnxruntime.Network(model, 1, patches)
        self._stream = machine.streams[number]
        session = self._network._session
        values = (*session.get_inputs(), *session.get_outputs())
        self.dtypes = {each.name: onnxruntime_cuda.TYPES[each.type] for each in values}

    obstacle = ""

    def capture_obstacle(self):
        return self.obstacle

    def bind(self, inputs, outputs):
        run = self._network.bind(
            {name: _seen_by_the_host(array) for name, array in inputs.items()},
            {name: _seen_by_the_host(array) for name, array in outputs.items()},
        )
        return lambda: self._stream._put(run)


class OnDevice:
    """A caller's array on the device, written and read on a stream of his."""

    def __init__(self, array, stream=None) -> None:
        array = np.asarray(array)
        self.buffer = Buffer._allocate(array.nbytes, machine.on_device)
        memory = (ctypes.c_uint8 * array.nbytes).from_address(self.buffer.handle)
        self.values = np.frombuffer(memory, array.dtype).reshape(array.shape)
        self.stream = stream or Stream()
        kept = array.copy()
        self.stream._put(lambda: np.copyto(self.values, kept))

    @property
    def __cuda_array_interface__(self):
        return {**self.values.__array_interface__, "version": 3, "stream": self.stream.handle}

    def overwrite(self, array) -> None:
        kept = np.array(array)
        self.stream._put(lambda: np.copyto(self.values, kept))

    def get(self):
        self.stream.sync()
        return self.values.copy()
