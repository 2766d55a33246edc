"""Results that stay on the device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from trtmatte.runtime.session.cuda.arrays import LEGACY_STREAM, DeviceArray, Place

_CUDA = 2  # DLPack's number of CUDA memory


class _Memory(Protocol):
    """The parts of `DeviceMemory` that a result needs."""

    cuda_stream: int | None
    compute: Any

    def entered(self) -> AbstractContextManager[None]: ...
    def caller(self, number: int) -> Any: ...
    def copy_result(self, array: DeviceArray) -> DeviceArray: ...
    def fetch(self, array: Any) -> np.ndarray[Any, Any]: ...


class DeviceResult:
    """A result on the device, for torch, CuPy and all others that know DLPack or the CUDA array interface.

    >>> torch.from_dlpack(matte.pha), cupy.asarray(matte.pha), numba.cuda.as_cuda_array(matte.pha)
    >>> pycuda.gpuarray.GPUArray(matte.pha.shape, matte.pha.dtype, gpudata=matte.pha.ptr, base=matte.pha)

    It may not be computed yet. Whoever takes it over by one of the protocols waits for it on their own CUDA stream.
    """

    def __init__(self, array: DeviceArray, memory: _Memory) -> None:
        self._array, self._memory = array, memory

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def ptr(self) -> int:
        """The address on the device."""
        return self._array.address

    @property
    def device(self) -> Place:
        return self._array.device

    def __len__(self) -> int:
        return len(self._array)

    def get(self) -> np.ndarray[Any, Any]:
        """A copy in the host's memory."""
        with self._memory.entered():
            return self._memory.fetch(self._array)

    def copy(self) -> DeviceResult:
        """A copy in memory of its own."""
        with self._memory.entered():
            return DeviceResult(self._memory.copy_result(self._array), self._memory)

    def as_callers(self) -> DeviceArray:
        """The array in the form that a caller passes to another session."""
        return self._array.on_stream(self._memory.cuda_stream or 0, self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._array.__cuda_array_interface__, "stream": self._memory.cuda_stream}

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CUDA, self.device.id

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        from cuda.core import Buffer
        from cuda.core.utils import StridedMemoryView

        if dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(f"the result is on {self.__dlpack_device__()}; it cannot be exported to {dl_device}")
        with self._memory.entered():
            if stream != -1:  # -1: the caller waits itself
                self._memory.caller(stream or LEGACY_STREAM).wait(self._memory.compute)
            buffer = Buffer.from_handle(self._array.address, self.nbytes, owner=self)
            view = StridedMemoryView.from_buffer(buffer, self.shape, dtype=self.dtype)
            return view.__dlpack__(stream=-1, max_version=max_version, copy=copy)

    def __repr__(self) -> str:
        return f"DeviceResult({self.dtype} {self.shape} on CUDA device {self.device.id})"
