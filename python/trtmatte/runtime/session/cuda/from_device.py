"""Memory on a CUDA device that its owner does not describe: without a shape, or without a CUDA stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trtmatte.errors import FrameError
from trtmatte.ops import stream_handle
from trtmatte.runtime.session.arrays import masked
from trtmatte.runtime.session.cuda.arrays import LEGACY_STREAM
from trtmatte.runtime.session.cuda.strided import Strided

__all__ = ["CallerArray", "from_device"]


class CallerArray:
    """Memory of a caller on a CUDA device, as all others know it by the CUDA array interface."""

    def __init__(self, strided: Strided, owner: object, cuda_stream: int, *, readonly: bool = False) -> None:
        self._strided, self._owner = strided, owner
        self._cuda_stream, self._readonly = cuda_stream, readonly

    @property
    def shape(self) -> tuple[int, ...]:
        return self._strided.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._strided.dtype

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "data": (self._strided.address, self._readonly),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": self._strided.strides,
            "stream": self._cuda_stream,
        }

    def __repr__(self) -> str:
        return f"CallerArray({self.dtype} {self.shape} on the CUDA stream {self._cuda_stream:#x})"


def from_device(
    memory: Any,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    *,
    strides: Sequence[int] | None = None,
    cuda_stream: Any = None,
) -> CallerArray:
    """Memory on a CUDA device as an array that sessions, ops and other libraries read and write in place.

    `memory` is a pointer: a number, PyCUDA's DeviceAllocation, a CUdeviceptr, a Buffer of cuda.core, a MemoryPointer of
    CuPy. `shape` and `dtype` (left out: uint8) describe it; `strides` are in bytes, left out for packed memory. Or it
    is an array with `__cuda_array_interface__`, which has its own shape.

    `cuda_stream` is the CUDA stream on which you work with the memory: an object with `__cuda_stream__`, one of
    torch, CuPy or PyCUDA, or a number. Left out it is the array's own, or CUDA's default stream.

    The memory is kept alive as long as the array. Raises a FrameError if the two do not fit together.
    """
    number = stream_handle(cuda_stream)
    interface = getattr(memory, "__cuda_array_interface__", None)
    if interface is not None:
        array = _from_interface(memory, interface, number)
        if (shape, dtype, strides) != (None, None, None):
            raise FrameError(
                f"memory is a {type(memory).__name__} with the shape {array.shape}; "
                "expected a pointer, or an array alone: leave shape, dtype and strides out"
            )
        return array
    if shape is None:
        raise FrameError(
            f"memory is a {type(memory).__name__}, which has no shape; expected from_device(memory, shape, dtype)"
        )
    address = _address(memory)
    try:
        sizes = None if strides is None else tuple(map(int, strides))
        strided = Strided.of(address, tuple(map(int, shape)), "uint8" if dtype is None else dtype, sizes)
    except (TypeError, ValueError) as error:
        raise FrameError(f"memory cannot have the shape {shape!r} and the dtype {dtype!r}: {error}") from error
    _require_room(memory, strided)
    return CallerArray(strided, memory, number or LEGACY_STREAM)


def _from_interface(memory: object, interface: Any, cuda_stream: int | None) -> CallerArray:
    try:
        if interface.get("mask") is not None:
            raise masked("memory")
        address, readonly = interface["data"]
        own = Strided.of(address, tuple(interface["shape"]), interface["typestr"], interface.get("strides"))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(
            f"memory is a {type(memory).__name__} that does not follow its array protocol: {error}"
        ) from error
    return CallerArray(own, memory, cuda_stream or interface.get("stream") or LEGACY_STREAM, readonly=bool(readonly))


def _address(memory: Any) -> int:
    """The number behind a pointer: of a Buffer of cuda.core it is the handle, of a MemoryPointer of CuPy the ptr."""
    pointers: tuple[Any, ...] = (memory, getattr(memory, "handle", None), getattr(memory, "ptr", None))
    for pointer in pointers:
        if hasattr(pointer, "__int__") and not isinstance(pointer, (float, np.ndarray)):
            return int(pointer)
    raise FrameError(
        f"memory is a {type(memory).__name__}; expected a pointer to a CUDA device, or an array with "
        "__cuda_array_interface__"
    )


def _require_room(memory: Any, strided: Strided) -> None:
    """Check the bytes of a Buffer of cuda.core. Other pointers do not know how much they point to."""
    room = getattr(memory, "size", None) if hasattr(memory, "handle") else None
    first, spanned = strided.span
    needed = first + spanned - strided.address
    if room is not None and room < needed:
        raise FrameError(f"memory has {room} bytes; {strided.dtype} {strided.shape} needs {needed}")
