"""Results that stay on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trtmatte.session.cuda.arrays import LEGACY_STREAM, DeviceArray, Place

if TYPE_CHECKING:
    from trtmatte.session.cuda.memory import DeviceMemory

_CUDA = 2  # DLPack's number of CUDA memory


class DeviceResult:
    """A result on the device, for torch, CuPy and all others that know DLPack or the CUDA array interface.

    >>> torch.from_dlpack(matte.pha), cupy.asarray(matte.pha)

    It may still be being computed; whoever takes it over by one of the protocols waits for it on his own stream.
    """

    def __init__(self, array: DeviceArray, memory: DeviceMemory) -> None:
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
    def device(self) -> Place:
        return self._array.device

    def __len__(self) -> int:
        return len(self._array)

    def get(self) -> np.ndarray[Any, Any]:
        """A copy in the host's memory."""
        with self._memory.entered():
            return self._memory.fetch(self._array)

    def copy(self) -> DeviceResult:
        """The same in memory of its own."""
        with self._memory.entered():
            copy = self._memory.empty(self.shape, self.dtype)
            self._memory.copy(copy, self._array)
        return DeviceResult(copy, self._memory)

    def as_callers(self) -> DeviceArray:
        """The array as a caller of another session gives it."""
        array = self._array
        return DeviceArray(array._geometry, array.device.id, self, self._memory.stream or 0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._array.__cuda_array_interface__, "stream": self._memory.stream}

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
            raise BufferError(f"the result is on {self.__dlpack_device__()}; it cannot be had on {dl_device}")
        with self._memory.entered():
            if stream != -1:  # the caller waits himself
                self._memory.caller(stream or LEGACY_STREAM).wait(self._memory.compute)
            buffer = Buffer.from_handle(self._array.address, self.nbytes, owner=self)
            view = StridedMemoryView.from_buffer(buffer, self.shape, dtype=self.dtype)
            return view.__dlpack__(stream=-1, max_version=max_version, copy=copy)

    def __repr__(self) -> str:
        return f"DeviceResult({self.dtype} {self.shape} on CUDA device {self.device.id})"
