"""The memory of a session's arrays, and how values move. This file has the host's; `cuda.memory` has a GPU's."""

from __future__ import annotations

import ctypes
import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from trtmatte.runtime.session.arrays import Host, on_host

Array = Any  # numpy's, or one on a device that has as much of numpy's interface as a session needs


class Memory(Protocol):
    cuda_stream: int | None  # the number of the CUDA stream for work on these arrays; None on the host
    buffers: int  # allocated so far

    def entered(self) -> AbstractContextManager[None]:
        """The context in which all work on this memory is done."""

    def read(self, value: Any, name: str) -> Host:
        """A caller's array, in place."""

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A new buffer of zeros for the session itself."""

    def result(self, shape: tuple[int, ...], dtype: str, on_device: bool) -> Array:
        """A new buffer for a result."""

    def lend(self, array: Array) -> tuple[Array, object]:
        """Another array over the memory of a result, and an object that lives as long as anything that reads it."""

    def wrap_for_caller(self, array: Array, is_torch: bool) -> Any:
        """A result buffer in the form that callers get: torch, numpy or a `DeviceResult`."""

    def copy(self, to: Array, source: Array) -> None:
        """Copy values to an array of the same shape."""

    def clear(self, array: Array) -> None:
        """Set all values to zero."""

    def fetch(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy in the host's memory."""

    def number(self, array: Array) -> int:
        """The single value of an array; waits for it on a device."""

    def snapshot(self, array: Array) -> Array:
        """A copy that later changes of the caller's array do not touch."""


class HostMemory:
    """The host's memory: numpy arrays."""

    cuda_stream: int | None = None

    def __init__(self) -> None:
        self.buffers = 0

    def entered(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self, value: Any, name: str) -> Host:
        return on_host(value, name)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        self.buffers += 1
        return np.zeros(shape, dtype)

    def result(self, shape: tuple[int, ...], dtype: str, on_device: bool) -> Array:
        self.buffers += 1
        return np.empty(shape, dtype)

    def lend(self, array: Array) -> tuple[Array, object]:
        return lend_on_host(array)

    def wrap_for_caller(self, array: Array, is_torch: bool) -> Any:
        if not is_torch:
            return array
        import torch

        return torch.from_numpy(array)

    def copy(self, to: Array, source: Array) -> None:
        np.copyto(to, source)

    def clear(self, array: Array) -> None:
        array[...] = 0

    def fetch(self, array: Array) -> np.ndarray[Any, Any]:
        copy: np.ndarray[Any, Any] = array.copy()
        return copy

    def number(self, array: Array) -> int:
        return int(array[0])

    def snapshot(self, array: Array) -> Array:
        return array.copy()


def lend_on_host(array: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], object]:
    """`Memory.lend` for packed arrays of numpy.

    A view of a view belongs to the first array, not to the view: it would not keep an object of numpy's alive.
    """
    loan = _loans(array.nbytes).from_address(array.ctypes.data)
    loan.owner = array
    return np.ndarray(array.shape, array.dtype, loan), loan


@functools.lru_cache(maxsize=64)
def _loans(size: int) -> Any:
    """The type of so many bytes that belong to an array. Types are slow to make."""
    return type("Loan", (ctypes.c_uint8 * size,), {"__slots__": ("owner",)})
