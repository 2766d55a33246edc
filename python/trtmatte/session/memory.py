"""Where a session's arrays live, and how it moves them. This is the host's memory; `cuda.memory` is a GPU's."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from trtmatte.session.arrays import Host, on_host

Array = Any  # numpy's, or one on a device that has as much of numpy's interface as a session needs


class Memory(Protocol):
    stream: int | None  # the number of the CUDA stream that work belongs on
    buffers: int  # got so far

    def entered(self) -> AbstractContextManager[None]:
        """What all work on it is done within."""

    def read(self, value: Any, name: str) -> Host:
        """A caller's array as the session takes it, where it is."""

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A buffer of the session's own."""

    def result(self, shape: tuple[int, ...], dtype: str, on_device: bool) -> Array:
        """A buffer that callers are given."""

    def handed(self, array: Array, is_torch: bool) -> Any:
        """Such a buffer in the form in which callers get it."""

    def copy(self, to: Array, source: Array) -> None:
        """Copies values to an array of the same shape."""

    def clear(self, array: Array) -> None:
        """Makes all values zero."""

    def fetch(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy in the host's memory, for a caller to keep."""

    def number(self, array: Array) -> int:
        """The only value of an array, once it is there."""

    def keep(self, array: Array) -> Array:
        """A copy that stays, whatever becomes of the caller's array."""


class HostMemory:
    """Arrays are numpy's."""

    stream: int | None = None

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

    def handed(self, array: Array, is_torch: bool) -> Any:
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

    def keep(self, array: Array) -> Array:
        return array.copy()
