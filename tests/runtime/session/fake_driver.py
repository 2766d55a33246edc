"""The fake driver (tests/native/fake_driver): the real `cuda.core` runs on it, and the emulated ops, without a device.

    tools/gpu_check.sh --rehearse out/emulated build sessions

Importing this module loads it, if it is the `libcuda.so.1` that the system finds (LD_LIBRARY_PATH).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from trtmatte import _core
from trtmatte.runtime.session.cuda.strided import Strided

_TEXT = 1 << 20


def _loaded() -> Any:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return library if hasattr(library, "fake_driver_begin") else None


LIBRARY = _loaded()
MISSING = ""
if LIBRARY is None or _core.CUDA_ARCHITECTURES != "emulated":
    MISSING = "needs the emulated core and the fake driver (make emulated)"


def begin(seed):
    """Begin a test. `seed` decides the order in which the streams get their turns."""
    LIBRARY.fake_driver_begin(seed)


def never_wait(cuda_stream):
    """Plant a fault: the stream waits for no event."""
    LIBRARY.fake_driver_never_wait(ctypes.c_void_p(int(cuda_stream.handle)))


def broken_rules():
    return _lines("fake_driver_broken_rules")


def counts():
    """Calls by the names of the driver's functions, and what is alive."""
    pairs = (line.rsplit(" ", 1) for line in _lines("fake_driver_counts"))
    return {name: int(count) for name, count in pairs}


def alive():
    return {name: count for name, count in counts().items() if name.startswith("live")}


def _lines(function):
    text = ctypes.create_string_buffer(_TEXT)
    getattr(LIBRARY, function)(text, _TEXT)
    return text.value.decode().splitlines()


def seen_by_the_host(array):
    """A view of memory of the device, which is the host's here."""
    memory = (ctypes.c_uint8 * max(1, array.nbytes)).from_address(array.address)
    return np.ndarray(array.shape, array.dtype, memory, 0, array.strides)


class Network:
    """ONNX Runtime on the CPU in the place of what runs on the device, on a CUDA stream."""

    obstacle = ""

    def __init__(self, model, index, cuda_stream, patches, *, tf32=False):
        from trtmatte.backends import onnxruntime, onnxruntime_cuda

        self._network = onnxruntime.Network(model, 1, patches)
        self.cuda_stream = cuda_stream
        session = self._network._session
        values = (*session.get_inputs(), *session.get_outputs())
        self.dtypes = {each.name: onnxruntime_cuda.TYPES[each.type] for each in values}

    def capture_obstacle(self):
        return self.obstacle

    def bind(self, inputs, outputs):
        run = self._network.bind(
            {name: seen_by_the_host(array) for name, array in inputs.items()},
            {name: seen_by_the_host(array) for name, array in outputs.items()},
        )
        on_stream = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: run())
        held = (inputs, outputs)

        def put(arrays=held):
            status = LIBRARY.fake_driver_submit(ctypes.c_void_p(self.cuda_stream), on_stream, None, None)
            if status:
                raise RuntimeError(f"the network cannot be put on its stream: CUDA error {status}")

        return put


class OnDevice:
    """A caller's array on the device, written and read on a stream of his, and known by the CUDA array interface."""

    def __init__(self, array, stream=None):
        from cuda.core import Device

        array = np.asarray(array)
        device = Device(0)
        device.set_current()
        self.stream = stream or device.create_stream()
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes
        self.buffer = device.allocate(array.nbytes, stream=self.stream)
        self.seen = Strided.of(int(self.buffer.handle), array.shape, array.dtype)
        self.overwrite(array)

    def cut(self, key):
        """Show others a part alone."""
        self.seen = self.seen[key]

    def overwrite(self, array):
        self.buffer.copy_from(_on_host(np.ascontiguousarray(array)), stream=self.stream)

    def get(self):
        values = np.empty(self.shape, self.dtype)
        _on_host(values).copy_from(self.buffer, stream=self.stream)
        self.stream.sync()
        return values

    @property
    def __cuda_array_interface__(self):
        return {
            "version": 3,
            "data": (self.seen.address, False),
            "shape": self.seen.shape,
            "typestr": self.dtype.str,
            "strides": self.seen.strides,
            "stream": int(self.stream.handle),
        }


class WithoutStream(OnDevice):
    """As PyCUDA tells of its arrays: nothing of a stream, which means CUDA's default stream."""

    def __init__(self, array, stream=None):
        from cuda.core import Device, Stream

        Device(0).set_current()
        super().__init__(array, stream or Stream.from_handle(1))

    @property
    def __cuda_array_interface__(self):
        return {**super().__cuda_array_interface__, "stream": None}


class StreamByProtocol:
    """A CUDA stream of any library."""

    def __init__(self, stream):
        self.stream = stream

    def __cuda_stream__(self):
        return 0, int(self.stream.handle)


class OverDlpack:
    """As torch and JAX tell of their arrays: what is given waits for the taker's stream, and is theirs from there."""

    def __init__(self, array):
        self.on_device = OnDevice(array)

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream, max_version):
        from cuda.core import Buffer, Stream
        from cuda.core.utils import StridedMemoryView

        ours = self.on_device
        Stream.from_handle(stream).wait(ours.stream)
        buffer = Buffer.from_handle(int(ours.buffer.handle), ours.nbytes, owner=self)
        view = StridedMemoryView.from_buffer(buffer, ours.shape, dtype=ours.dtype)
        return view.__dlpack__(stream=-1, max_version=max_version)


def _on_host(array):
    from cuda.core import Buffer

    return Buffer.from_handle(array.ctypes.data, array.nbytes, owner=array)
