"""Arrays that their owner does not describe in full, on a CUDA device that is not there (`test_cuda_emulated.py`)."""
# ruff: noqa: F811

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from tests.runtime.session import engines, fake_cuda
from tests.runtime.session.test_cuda_emulated import machine, pair, pytestmark, seed  # noqa: F401
from trtmatte import from_device
from trtmatte.errors import FrameError


class WithoutStream(fake_cuda.OnDevice):
    """As PyCUDA tells of its arrays: nothing of a stream, which means CUDA's default stream."""

    def __init__(self, array, stream=None):
        super().__init__(array, stream or fake_cuda.Stream.from_handle(1))

    @property
    def __cuda_array_interface__(self):
        return {**super().__cuda_array_interface__, "stream": None}


class StreamByProtocol:
    def __init__(self, stream):
        self.stream = stream

    def __cuda_stream__(self):
        return 0, self.stream.handle


SHAPE = (engines.HEIGHT, engines.WIDTH, 3)
DESCRIBED: dict[str, tuple[Any, Any]] = {
    "an array without a stream": (WithoutStream, lambda frame: frame),
    "a pointer": (fake_cuda.OnDevice, lambda frame: from_device(frame.buffer.handle, SHAPE, cuda_stream=frame.stream)),
    "an array on a stream that it does not name": (
        lambda array: WithoutStream(array, fake_cuda.Stream()),
        lambda frame: from_device(frame, cuda_stream=StreamByProtocol(frame.stream)),
    ),
}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_frames_and_outs_that_their_owner_does_not_describe(kind, machine):
    """In place, after what the owner has put on his stream and before what he puts there next."""
    make, described = DESCRIBED[kind]
    on_cpu, on_cuda = pair(outputs=("composite",), background="green")
    frame, out = make(engines.noise(0)), make(np.zeros(SHAPE, np.uint8))
    for number in range(9):
        frame.overwrite(engines.noise(number))
        expected = on_cpu(engines.noise(number)).composite
        on_cuda(described(frame), out=described(out))
        frame.overwrite(engines.noise(77))
        assert np.abs(out.get().astype(int) - expected).max() <= 1
    stats = on_cuda.stats()
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)


def test_results_have_an_address(machine):
    """For libraries that take no protocol."""
    on_cpu, on_cuda = pair(outputs=("pha",))
    frame = WithoutStream(engines.noise(0))
    pha = on_cuda(frame).pha
    memory = np.empty(pha.shape, pha.dtype)
    pointer = fake_cuda.Buffer.from_handle(pha.ptr, pha.nbytes)
    with on_cuda._memory.entered():
        fake_cuda.Buffer.from_handle(memory.ctypes.data, memory.nbytes).copy_from(pointer, stream=frame.stream)
    frame.stream.sync()
    assert np.abs(memory.astype(int) - on_cpu(engines.noise(0)).pha).max() <= 1


def test_memory_of_another_context_is_refused(machine, monkeypatch):
    """PyCUDA makes one of its own unless it is asked not to."""
    session, frame = engines.memory().session(device="cuda"), WithoutStream(engines.noise(0))
    driver: Any = sys.modules["cuda.bindings.driver"]
    contexts = {frame.buffer.handle: 0xC0DE}
    driver.cuCtxGetCurrent = lambda: (0, 0xF00D if machine.current == "the session's" else 0)
    driver.CUpointer_attribute = types.SimpleNamespace(CU_POINTER_ATTRIBUTE_CONTEXT=1)
    driver.cuPointerGetAttribute = lambda attribute, address: (0, contexts.get(address, 0))
    session(frame)
    monkeypatch.setitem(sys.modules, "pycuda", types.ModuleType("pycuda"))
    with pytest.raises(FrameError, match=r"frame lies in a CUDA context of PyCUDA's own; .*pycuda.autoprimaryctx"):
        session(frame)
    for shared in (0xF00D, 0):  # the device's primary one; memory of pools has none
        contexts[frame.buffer.handle] = shared
        session(frame)
