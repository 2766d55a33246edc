"""Arrays on a CUDA device: where they lie, sliced like numpy's, their values left where they are."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from trtmatte.errors import FrameError
from trtmatte.session.arrays import is_torch

LEGACY_STREAM = 1  # the number of CUDA's default stream, which all blocking streams wait for


class Place(NamedTuple):
    """A CUDA device, named as CuPy names it."""

    id: int


class _Located:
    def __init__(self, address: int, shape: tuple[int, ...], kind: str, strides: Any, readonly: bool) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, readonly),
            "shape": shape,
            "typestr": kind,
            "strides": strides,
        }


class DeviceArray:
    """Memory on a device with a shape. Work on it belongs on one stream, which whoever uses it keeps to."""

    __slots__ = ("_geometry", "caller_stream", "device", "owner")

    def __init__(self, geometry: np.ndarray[Any, Any], device: int, owner: object, caller_stream: int = 0) -> None:
        """`geometry` is numpy's idea of the array. Nobody may look at its values, which are not the host's to see."""
        self._geometry, self.device, self.owner = geometry, Place(device), owner
        self.caller_stream = caller_stream  # on which its owner works with it; 0 for the session's own

    @classmethod
    def at(
        cls,
        address: int,
        shape: tuple[int, ...],
        dtype: Any,
        device: int,
        owner: object,
        *,
        strides: tuple[int, ...] | None = None,
        readonly: bool = False,
        caller_stream: int = 0,
    ) -> DeviceArray:
        """`strides` are in bytes."""
        located = _Located(address, shape, np.dtype(dtype).str, strides, readonly)
        return cls(np.asarray(located), device, owner, caller_stream)

    @property
    def address(self) -> int:
        return self._geometry.ctypes.data

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._geometry.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        return self._geometry.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self._geometry.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return self._geometry.ndim

    @property
    def size(self) -> int:
        return self._geometry.size

    @property
    def nbytes(self) -> int:
        return self._geometry.nbytes

    @property
    def flags(self) -> Any:
        return self._geometry.flags

    def __len__(self) -> int:
        return len(self._geometry)

    def __getitem__(self, key: Any) -> DeviceArray:
        return self._like(self._geometry[key])

    def broadcast_to(self, shape: tuple[int, ...]) -> DeviceArray:
        return self._like(np.broadcast_to(self._geometry, shape))

    @property
    def own(self) -> DeviceArray:
        """The same array, with its owner's stream out of mind."""
        return DeviceArray(self._geometry, self.device.id, self.owner)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that work on it depends on, but for its values."""
        return self.address, self.shape, self.strides, self.dtype.str

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "data": (self.address, not self.flags.writeable),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": self.strides,
            "stream": None,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype} {self.shape} on CUDA device {self.device.id})"

    def _like(self, geometry: np.ndarray[Any, Any]) -> DeviceArray:
        return DeviceArray(geometry, self.device.id, self.owner, self.caller_stream)


def read(value: Any, name: str, device: int, stream: int) -> DeviceArray:
    """A caller's array on the device, where it is. Where DLPack leads to it, `stream` waits for its values from here
    on; else whoever uses it waits for its `caller_stream`."""
    found = _device_of(value)
    if found is not None and found != device:
        raise FrameError(
            f"{name} lives on CUDA device {found} and this session on {device}: "
            f"move it there, or open the session with device='cuda:{found}'"
        )
    value = value.detach() if is_torch(value) else value
    try:
        if hasattr(value, "__cuda_array_interface__"):
            return _from_interface(value, device)
        return _from_dlpack(value, device, stream)
    except (TypeError, KeyError, ValueError, RuntimeError, BufferError) as error:
        raise FrameError(
            f"{name} is a {type(value).__name__} that does not follow its array protocol: {error}"
        ) from error


def _device_of(value: Any) -> int | None:
    """The number of the device, where the value tells it."""
    protocol = getattr(value, "__dlpack_device__", None)
    if protocol is not None:
        return int(protocol()[1])
    number = getattr(getattr(value, "device", None), "id", None)
    return None if number is None else int(number)


def _from_interface(value: Any, device: int) -> DeviceArray:
    interface = value.__cuda_array_interface__
    address, readonly = interface["data"]
    stream = interface.get("stream")
    return DeviceArray.at(
        address,
        tuple(interface["shape"]),
        interface["typestr"],
        device,
        value,
        strides=interface.get("strides"),
        readonly=bool(readonly),
        caller_stream=_torch_stream(value, device) or (LEGACY_STREAM if stream is None else int(stream)),
    )


def _from_dlpack(value: Any, device: int, stream: int) -> DeviceArray:
    from cuda.core.utils import StridedMemoryView

    view = StridedMemoryView.from_dlpack(value, stream)
    dtype = view.dtype
    if dtype is None:
        raise TypeError("its values are of no type that numpy has")
    strides = None if view.strides is None else tuple(step * dtype.itemsize for step in view.strides)
    return DeviceArray.at(
        view.ptr,
        tuple(view.shape),
        dtype,
        device,
        view,
        strides=strides,
        readonly=bool(view.readonly),
        caller_stream=LEGACY_STREAM,
    )


def _torch_stream(value: Any, device: int) -> int:
    """The stream that torch works on, which its arrays do not name. Its default stream has the number 0."""
    if not is_torch(value):
        return 0
    return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream) or LEGACY_STREAM
