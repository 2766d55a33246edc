"""Arrays on a CUDA device: described and sliced on the host, their values left on the device."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from trtmatte import _core
from trtmatte.errors import FrameError, TrtmatteError
from trtmatte.runtime.session.arrays import is_torch, masked
from trtmatte.runtime.session.cuda.strided import Strided

LEGACY_STREAM = 1  # the number of CUDA's default stream, which all blocking streams wait for


class Place(NamedTuple):
    """A CUDA device, named as CuPy names it."""

    id: int


class Flags(NamedTuple):
    """The flags that numpy has by the same names."""

    c_contiguous: bool
    writeable: bool


class DeviceArray:
    """Memory on a device with a shape. All work on it belongs on one CUDA stream, which its user keeps to."""

    __slots__ = ("_readonly", "_strided", "caller_stream", "device", "owner")

    def __init__(
        self, strided: Strided, device: int, owner: object, caller_stream: int = 0, *, readonly: bool = False
    ) -> None:
        """`caller_stream` is the CUDA stream on which the owner works with it; 0 is the session's own."""
        self._strided, self.device, self.owner = strided, Place(device), owner
        self.caller_stream, self._readonly = caller_stream, readonly

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
        """An array at an address. `strides` are in bytes."""
        return cls(Strided.of(address, shape, dtype, strides), device, owner, caller_stream, readonly=readonly)

    @property
    def address(self) -> int:
        return self._strided.address

    @property
    def shape(self) -> tuple[int, ...]:
        return self._strided.shape

    @property
    def strides(self) -> tuple[int, ...]:
        return self._strided.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._strided.dtype

    @property
    def ndim(self) -> int:
        return len(self._strided.shape)

    @property
    def size(self) -> int:
        return self._strided.size

    @property
    def nbytes(self) -> int:
        return self._strided.nbytes

    @property
    def flags(self) -> Flags:
        return Flags(self._strided.is_packed, not self._readonly)

    def __len__(self) -> int:
        return self._strided.shape[0]

    def __getitem__(self, key: Any) -> DeviceArray:
        return self._like(self._strided[key])

    def broadcast_to(self, shape: tuple[int, ...]) -> DeviceArray:
        return self._like(self._strided.broadcast_to(shape), readonly=True)

    @property
    def whole(self) -> DeviceArray:
        """The bytes of the memory from its first element to its last, with what may lie in between."""
        first, size = self._strided.span
        return self._like(Strided.of(first, (size,), np.uint8))

    @property
    def own(self) -> DeviceArray:
        """The same array for work on the session's CUDA stream: the owner's stream is dropped."""
        return DeviceArray(self._strided, self.device.id, self.owner, readonly=self._readonly)

    def on_stream(self, caller_stream: int, owner: object) -> DeviceArray:
        """The same array as a caller's, who works with it on this CUDA stream."""
        return DeviceArray(self._strided, self.device.id, owner, caller_stream, readonly=self._readonly)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that work on the array depends on, except its values."""
        return self.address, self.shape, self.strides, self.dtype.str

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "data": (self.address, self._readonly),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": self.strides,
            "stream": None,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype} {self.shape} on CUDA device {self.device.id})"

    def _like(self, strided: Strided, *, readonly: bool = False) -> DeviceArray:
        readonly = readonly or self._readonly
        return DeviceArray(strided, self.device.id, self.owner, self.caller_stream, readonly=readonly)


def read(value: Any, name: str, device: int, cuda_stream: int) -> DeviceArray:
    """A caller's array on the device, in place. With DLPack, `cuda_stream` waits for its values from here on; with the
    array interface, whoever uses it waits for its `caller_stream`."""
    found = _device_of(value)
    if found is not None and found != device:
        raise FrameError(
            f"{name} lives on CUDA device {found} and this session on {device}: "
            f"move it there, or open the session with device='cuda:{found}'"
        )
    value = value.detach() if is_torch(value) else value
    try:
        if hasattr(value, "__cuda_array_interface__"):
            array = _from_interface(value, name, device)
            _require_primary_context(array, name)
        else:
            array = _from_dlpack(value, device, cuda_stream)
        if array.size:
            _core.read(array.own, name)  # checks what the protocol said
        return array
    except (TrtmatteError, MemoryError):
        raise
    except Exception as error:  # whatever the protocol of a stranger raises
        raise FrameError(
            f"{name} is a {type(value).__name__} that does not follow its array protocol: {error}"
        ) from error


def _device_of(value: Any) -> int | None:
    """The number of the device, if the value tells it."""
    protocol = getattr(value, "__dlpack_device__", None)
    if protocol is not None:
        return int(protocol()[1])
    number = getattr(getattr(value, "device", None), "id", None)
    return None if number is None else int(number)


def _from_interface(value: Any, name: str, device: int) -> DeviceArray:
    interface = value.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise masked(name)
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
        caller_stream=_torch_stream(value, device) or int(stream or LEGACY_STREAM),
    )


def _require_primary_context(array: DeviceArray, name: str) -> None:
    """Refuse memory that a session cannot reach: PyCUDA can make a context of its own, unlike all others."""
    if "pycuda" not in sys.modules:
        return
    from cuda.bindings import driver

    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
    status, context = driver.cuPointerGetAttribute(attribute, array.address)
    _, session = driver.cuCtxGetCurrent()
    if int(status) == 0 and int(context) not in (0, int(session)):
        raise FrameError(
            f"{name} lies in a CUDA context of PyCUDA's own; expected the device's primary context, which torch, CuPy "
            "and sessions share: import pycuda.autoprimaryctx in the place of pycuda.autoinit"
        )


def _from_dlpack(value: Any, device: int, cuda_stream: int) -> DeviceArray:
    from cuda.core.utils import StridedMemoryView

    view = StridedMemoryView.from_dlpack(value, cuda_stream)
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
    """Torch's current CUDA stream, which its arrays do not name; 0 for other arrays. Its default stream is number 0."""
    if not is_torch(value):
        return 0
    return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream) or LEGACY_STREAM
