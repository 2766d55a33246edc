"""The memory of one CUDA device, a session's CUDA streams, and copies between device and host."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from trtmatte.errors import BackendError, FrameError
from trtmatte.runtime.session.arrays import Host, is_on_cuda, is_torch, on_host
from trtmatte.runtime.session.cuda import arrays
from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.result import DeviceResult
from trtmatte.runtime.session.memory import lend_on_host

HostArray = np.ndarray[Any, Any]

_CAPTURED_ELSEWHERE: Final = 906  # CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, of the default stream


class DeviceMemory:
    """Device memory with three CUDA streams: one copies a frame in, one computes another, one copies a third out.

    All work is done within `entered`. Only `fetch`, `snapshot`, `zeros` and `wait` wait for the device. Copies use the
    stream `compute` unless another one is given.

    Memory is freed on the stream that it was allocated on. What callers hold is allocated on a fourth one, `results`,
    since they let go of it at any time, even while `compute` is captured.
    """

    def __init__(self, device: int) -> None:
        try:
            import cuda.core as core
            from cuda.bindings import driver
        except ImportError as error:
            raise BackendError("sessions on CUDA need cuda.core: pip install 'trtmatte[cuda]'") from error
        self._core, self._driver = core, driver
        self.index = device
        self.buffers = 0  # allocated so far
        with self.entered():
            self.compute, self.upload, self.download, self.results = (self._device.create_stream() for _ in range(4))
            self._pinned = core.LegacyPinnedMemoryResource()
            self.cuda_stream: int | None = int(self.compute.handle)
            self._number = self.pinned((1,), "int32")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make the device current for this thread; restores the caller's context afterwards."""
        _, before = self._driver.cuCtxGetCurrent()
        self._device.set_current()
        try:
            yield
        finally:
            self._driver.cuCtxSetCurrent(before)

    @property
    def _device(self) -> Any:
        """The device object of the current thread."""
        return self._core.Device(self.index)

    def event(self) -> Any:
        return self._device.create_event()

    def caller(self, number: int) -> Any:
        """A CUDA stream of the caller, by its number. A capture of his would be lost by waiting for the session."""
        status, capturing = self._driver.cuStreamIsCapturing(number)
        if int(status) == _CAPTURED_ELSEWHERE or int(capturing):
            raise FrameError(
                "the CUDA stream of the arrays is being captured into a graph, and a session cannot be part of one: "
                "call the session outside of the capture"
            )
        return self._core.Stream.from_handle(number)

    def wait(self) -> None:
        """Wait for all work on the CUDA streams."""
        for stream in (self.upload, self.compute, self.download, self.results):
            stream.sync()

    # -----------------------------------------------------------------------------------------------------------------
    # Buffers

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return self._cleared(self._empty(shape, dtype, self.compute))

    def _empty(self, shape: tuple[int, ...], dtype: Any, stream: Any) -> DeviceArray:
        size = max(1, _bytes(shape, dtype))
        buffer = self._device.allocate(size, stream=stream)
        self.buffers += 1
        return DeviceArray.at(int(buffer.handle), shape, dtype, self.index, buffer)

    def _cleared(self, array: DeviceArray) -> DeviceArray:
        self.clear(array)
        self.compute.sync()  # from here on any CUDA stream may use it
        return array

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> HostArray:
        """Pinned host memory, which the device reads and writes directly."""
        size = max(1, _bytes(shape, dtype))
        buffer = self._pinned.allocate(size)
        self.buffers += 1
        memory: Any = (ctypes.c_uint8 * size).from_address(int(buffer.handle))
        memory.owner = buffer  # lives as long as any array that lies in it
        array: HostArray = np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)
        return array

    def result(self, shape: tuple[int, ...], dtype: str, on_device: bool) -> Any:
        return self._empty_result(shape, dtype) if on_device else self.pinned(shape, dtype)

    def lend(self, array: Any) -> tuple[Any, object]:
        if not isinstance(array, DeviceArray):
            return lend_on_host(array)
        loan = _Loan(array)
        return array.on_stream(0, loan), loan

    def copy_result(self, array: DeviceArray) -> DeviceArray:
        """A copy for the caller."""
        copy = self._empty_result(array.shape, array.dtype)
        self.copy(copy, array)
        self.results.wait(self.compute)  # before it is freed there
        return copy

    def _empty_result(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = self._empty(shape, dtype, self.results)
        self.compute.wait(self.results)
        return array

    def wrap_for_caller(self, array: Any, is_torch: bool) -> Any:
        """A result for the caller, which knows the CUDA stream that writes it."""
        given = DeviceResult(array, self) if isinstance(array, DeviceArray) else array
        if not is_torch:
            return given
        import torch

        if isinstance(array, DeviceArray):
            return torch.as_tensor(array, device=f"cuda:{self.index}")  # older ones would copy it to the host
        return torch.from_numpy(array)

    # -----------------------------------------------------------------------------------------------------------------
    # What moves

    def read(self, value: Any, name: str) -> Host:
        """A caller's array, in place: in the host's memory or on the device."""
        if isinstance(value, DeviceResult):
            return Host(value.as_callers())
        if isinstance(value, DeviceArray):
            return Host(value)
        if not is_on_cuda(value):
            host = on_host(value, name)
            return host._replace(copied=0)  # every frame from the host is copied, and counted then
        array = arrays.read(value, name, self.index, self.cuda_stream or 0)
        if not array.address and array.size:
            raise FrameError(f"{name} has no memory; expected an array that is not deleted")
        return Host(array, is_torch=is_torch(value))

    def copy(self, to: Any, source: Any, stream: Any = None) -> None:
        """Put a copy between arrays of one shape on a CUDA stream. Host arrays must stay unchanged until it is done;
        for pageable memory the driver is done when this returns."""
        if isinstance(source, DeviceArray) and source.caller_stream:
            self._copy_callers(to, source)
            return
        if to.shape == source.shape and to.flags.c_contiguous and source.flags.c_contiguous:
            self._buffer(to).copy_from(self._buffer(source), stream=stream or self.compute)
            return
        if to.ndim <= 3 or len(to) != len(source):
            raise FrameError(f"an array of {to.shape} with gaps cannot be copied to or from a CUDA device: pass a copy")
        for to_each, source_each in zip(_each(to), _each(source), strict=True):
            self.copy(to_each, source_each, stream)

    def _copy_callers(self, to: Any, source: DeviceArray) -> None:
        """Copy a caller's array after the work that the caller has begun on it, and before the caller's next work."""
        caller = self.caller(source.caller_stream)
        self.compute.wait(caller)
        self.copy(to, source.own)
        caller.wait(self.compute)

    def clear(self, array: Any) -> None:
        self._buffer(array).fill(0, stream=self.compute)

    def fetch(self, array: Any) -> HostArray:
        copy = np.empty(array.shape, array.dtype)
        packed = array if array.flags.c_contiguous else self._packed(array)
        self.copy(copy, packed)
        self.compute.sync()
        return copy

    def snapshot(self, array: Any) -> DeviceArray:
        """A copy on the device."""
        if isinstance(array, DeviceArray):
            array = self.fetch(array)
        packed = np.ascontiguousarray(array)
        kept = self._empty(packed.shape, packed.dtype, self.compute)
        self.copy(kept, packed)
        self.compute.sync()
        return kept

    def number(self, array: DeviceArray) -> int:
        """A single value; waits for it."""
        self.copy(self._number, array)
        self.compute.sync()
        return int(self._number[0])

    def _packed(self, array: DeviceArray) -> HostArray:
        """The values of an array with gaps: fetches the whole memory that it spans."""
        whole = array.whole
        start = array.address - whole.address
        view: HostArray = np.ndarray(array.shape, array.dtype, self.fetch(whole), start, array.strides)
        return np.ascontiguousarray(view)

    def _buffer(self, array: Any) -> Any:
        address = array.address if isinstance(array, DeviceArray) else array.ctypes.data
        return self._core.Buffer.from_handle(address, array.nbytes, owner=array)


class _Loan:
    """The owner of an array that is lent."""

    __slots__ = ("__weakref__", "_array")

    def __init__(self, array: DeviceArray) -> None:
        self._array = array


def _each(array: Any) -> list[Any]:
    return [array[index] for index in range(len(array))]


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return math.prod(shape) * int(np.dtype(dtype).itemsize)
