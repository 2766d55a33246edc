"""Arrays as strangers may give them, chosen by twelve bytes each: zeros stand for a plain array of the right form.

A lying pointer cannot be told from a true one, so every array whose pointer is believed lies in an `Arena`.
"""

from __future__ import annotations

import array as buffers
import ctypes
from collections.abc import Callable
from typing import Any, Final

import numpy as np

RECORD: Final = 12
_ROOM: Final = 1 << 16
_DTYPES: Final = ("u1", "f2", "f4", "i4", "f8", "i8", "u2", "?", "c8", "S3", "O", "M8[s]", "V5", ">f4", ">i4")
_TYPES: Final = (
    "|u1",
    "<f4",
    "<f2",
    "<i4",
    ">f4",
    "|O8",
    "",
    "u",
    "|ux",
    "|u1x",
    "<f4294967300",
    "|é4",
    7,
    None,
    b"|u1",
)
_SIZES: Final = (0, -1, 1, 3, 4, 65536, 65537, 2**31 - 1, 2**31, 2**32, 2**46, 2**62, 2**63 - 1, -(2**63), 2**64, 1.5)
_STRANGE: Final = (None, 5, "picture", b"", [[[0]]], {"a": 1}, object(), (), ..., True, float("nan"), type)
_ERRORS: Final = (ValueError, TypeError, KeyError, AttributeError, BufferError, OSError, RecursionError, StopIteration)


class Arena:
    """Memory with an array in it. What lies around the array must stay as it is; of an input, all."""

    def __init__(self, values: np.ndarray[Any, Any], *, written: bool, start: int = 0) -> None:
        room = _ROOM if values.nbytes < _ROOM // 2 else _ROOM + 2 * values.nbytes
        self.memory = np.full(room, 0xA5, np.uint8)
        middle = room // 2 + start
        self.array: Any = np.ndarray(values.shape, values.dtype, self.memory, middle)
        if start % values.dtype.itemsize == 0:
            self.array[...] = values
        self._own = slice(middle, middle + values.nbytes) if written else slice(0)
        self._before = self.memory.copy()

    def check(self) -> None:
        self._before[self._own] = self.memory[self._own]
        if not np.array_equal(self.memory, self._before):
            raise AssertionError("memory was written that is no output's")


class Interface:
    """An array interface that says what it was told to say."""

    def __init__(self, array: Any, **changes: Any) -> None:
        self.kept = array
        self.__array_interface__ = {**array.__array_interface__, **changes}


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", _Deleter),
        ("flags", ctypes.c_uint64), ("tensor", Tensor),
    )  # fmt: skip


_new_capsule: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class Dlpack:
    """DLPack as its record tells it. Each tensor must be freed once at most."""

    def __init__(self, array: Any, record: bytes) -> None:
        old, field, value, self._device = record[0] % 2, record[1] % 9, record[2], (1, 3, 2, 13, 7, -1)[record[3] % 6]
        self._freed = 0
        self._kept = array
        self._shape = (ctypes.c_int64 * 8)(*array.shape)
        self._deleter = _Deleter(self._free) if record[4] % 2 == 0 else _Deleter()
        code = {"u": 1, "f": 2}.get(array.dtype.kind, 0)
        tensor = Tensor(array.ctypes.data, 1, 0, array.ndim, code, array.itemsize * 8, 1, self._shape)
        size = _SIZES[value % 15]
        if field == 1:
            tensor.device_type = value % 20
        elif field == 2:
            tensor.ndim = (-1, 0, 65, 2**31 - 1, -(2**31))[value % 5]
        elif field == 3:
            tensor.code, tensor.bits = value % 8, value
        elif field == 4:
            tensor.lanes = value
        elif field == 5:
            tensor.byte_offset = (1 if array.itemsize > 1 else 2**62, 2**62, 2**63, 2**64 - 1)[value % 4]
        elif field == 6 and (size < 0 or size > 2**46):
            self._shape[value % max(1, array.ndim)] = int(size)
        elif field == 7:
            tensor.shape = ctypes.POINTER(ctypes.c_int64)()
        elif field == 8:
            tensor.data, tensor.device_id = None, -value
        if old:
            self._managed: Any = Managed(tensor, None, self._deleter)
            self._name = (b"dltensor", b"used_dltensor", b"other")[record[5] % 3]
        else:
            flags = int(not array.flags.writeable)
            self._managed = Versioned(1 + record[6] % 3, 0, None, self._deleter, flags, tensor)
            self._name = (b"dltensor_versioned", b"used_dltensor_versioned", b"other")[record[5] % 3]
        self._capsule = _new_capsule(ctypes.addressof(self._managed), self._name, None) if record[7] % 2 else None

    def __dlpack_device__(self) -> Any:
        return (self._device, 0)

    def __dlpack__(self, **arguments: Any) -> Any:
        if self._capsule is not None:
            return self._capsule  # the same one with each call: a used one the second time
        return _new_capsule(ctypes.addressof(self._managed), self._name, None)

    def _free(self, managed: int) -> None:
        self._freed += 1

    def check(self, reads: int) -> None:
        if self._freed > reads:
            raise AssertionError("a tensor was freed more often than it was given away")


class Raising:
    """A protocol that raises."""

    def __init__(self, name: str, error: type[Exception]) -> None:
        self._name, self._error = name, error

    def __getattr__(self, name: str) -> Any:
        if name == self.__dict__.get("_name"):
            raise self._error("of a stranger's protocol")
        raise AttributeError(name)


def _lying_interface(arena: Arena, record: bytes) -> Any:
    array, field, value = arena.array, record[0] % 9, record[1]
    shape: list[Any] = list(array.shape)
    size = _SIZES[value % len(_SIZES)]
    if field == 0 and (not isinstance(size, int) or size <= 0 or size > 2**46):
        shape[record[2] % len(shape)] = size
        return Interface(array, shape=tuple(shape))
    if field == 1:
        return Interface(array, typestr=_TYPES[value % len(_TYPES)] if array.itemsize == 4 or value % 15 > 3 else ">f4")
    if field == 2:
        return Interface(array, shape=_STRANGE[value % 12])
    if field == 3:
        steps = [array.itemsize] * len(shape)
        steps[record[2] % len(shape)] = (2**62, -(2**62), 2**63 - 1, -(2**63), 2**64, "x", None, 3)[value % 8]
        return Interface(array, strides=tuple(steps) if value % 2 else steps[:-1])
    if field == 4:
        return Interface(array, data=((0, False), (2**64 - 1, False), (-1, False), (1, 2, 3), ("x", 0), ())[value % 6])
    if field == 5:
        room = bytearray(array.tobytes())
        return Interface(array, data=room[: value % (len(room) + 1)], offset=(0, 1, -1, 2**63 - 1)[record[2] % 4])
    if field == 6:
        return Interface(array, mask=_STRANGE[value % 12])
    if field == 7:
        interface = Interface(array)
        interface.__array_interface__.pop(("shape", "typestr", "data", "strides")[value % 4], None)
        return interface
    interface = Interface(array)
    interface.__array_interface__ = _STRANGE[value % 12]  # type: ignore[assignment]
    return interface


def _other_numpy(arena: Arena, record: bytes) -> Any:
    """Another type, order, shape or stride, of real memory."""
    array, what, value = arena.array, record[0] % 9, record[1]
    if what == 0:
        return np.zeros(array.shape, _DTYPES[value % len(_DTYPES)])
    if what == 1:
        return array.T
    if what == 2:
        return array[..., :: (-1, 2)[value % 2]]
    if what == 3:
        array.flags.writeable = False
        return array
    if what == 4:
        shape = list(array.shape)
        shape[value % len(shape)] = (0, 1, 2, 65536, 65537, 2**31, 2**33)[record[2] % 7]
        return np.broadcast_to(array[(slice(0, 1),) * array.ndim], shape)
    if what == 5:
        return np.lib.stride_tricks.as_strided(
            array, strides=[array.itemsize * (record[2 + i % 4] % 5) for i in range(array.ndim)]
        )
    if what == 6:
        return array.reshape(array.shape + (1,) * (value % 40)) if value % 40 + array.ndim < 60 else array[()]
    if what == 7:
        return np.ma.MaskedArray(array, mask=bool(value % 2))
    return array.ravel()[0] if value % 2 else array[:0]


def make(record: bytes, arena: Arena) -> Any:
    """The array that twelve bytes stand for."""
    array, kind, rest = arena.array, record[0] % 12, record[1:]
    makers: tuple[Callable[[], Any], ...] = (
        lambda: array,
        lambda: _other_numpy(arena, rest),
        lambda: _lying_interface(arena, rest),
        lambda: Dlpack(array, rest),
        lambda: Dlpack(array, bytes(8)),
        lambda: Interface(array),
        lambda: memoryview(array),
        lambda: (array.tobytes(), bytearray(array.tobytes()), buffers.array("d", b"\0" * 64))[rest[0] % 3],
        lambda: _STRANGE[rest[0] % 12],
        lambda: Raising(
            ("__array_interface__", "__dlpack_device__", "__dlpack__", "mask", "shape")[rest[0] % 5],
            _ERRORS[rest[1] % len(_ERRORS)],
        ),
        lambda: np.ndarray(array.shape, array.dtype, arena.memory, len(arena.memory) // 2 + (array.itemsize > 1)),
        lambda: array.view(np.matrix if array.ndim == 2 else np.recarray),
    )
    return makers[kind]()
