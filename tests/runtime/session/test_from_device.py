"""Memory on a device as an array: the shape that a pointer lacks, and the CUDA stream that an array lacks."""

from __future__ import annotations

import gc
import types
import weakref

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.errors import FrameError


class Allocation:
    """As PyCUDA's DeviceAllocation: a number, and nothing else."""

    def __init__(self, address):
        self._address = address

    def __int__(self):
        return self._address


class Array:
    """As PyCUDA's GPUArray, which names no stream."""

    shape, dtype = (4, 6, 3), np.dtype(np.float32)

    def __init__(self, stream=None, readonly=False):
        self.__cuda_array_interface__ = {
            "version": 3,
            "data": (0x5000, readonly),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": (128, 12, 4),
            "stream": stream,
        }

    def __int__(self):
        return 0x5000


def interface(array):
    return array.__cuda_array_interface__


POINTERS = {
    "number": 0x4000,
    "numpy's number": np.uintp(0x4000),
    "PyCUDA's allocation": Allocation(0x4000),
    "Buffer of cuda.core": types.SimpleNamespace(handle=Allocation(0x4000), size=72),
    "MemoryPointer of CuPy": types.SimpleNamespace(ptr=0x4000),
}


@pytest.mark.parametrize("kind", POINTERS)
def test_a_pointer_gets_a_shape(kind):
    array = trtmatte.from_device(POINTERS[kind], (4, 6, 3))
    assert interface(array) == {
        "version": 3,
        "data": (0x4000, False),
        "shape": (4, 6, 3),
        "typestr": "|u1",
        "strides": (18, 3, 1),
        "stream": 1,
    }
    assert (array.shape, array.dtype) == ((4, 6, 3), np.uint8)


def test_types_and_strides_are_those_that_are_given():
    array = trtmatte.from_device(0x4000, [4, 6, 3], np.float16, strides=[64, 6, 2])
    assert (interface(array)["typestr"], interface(array)["strides"]) == ("<f2", (64, 6, 2))


def test_the_owner_lives_as_long_as_the_array():
    owner = Allocation(0x4000)
    alive, array = weakref.ref(owner), trtmatte.from_device(owner, (4, 6, 3))
    del owner
    gc.collect()
    assert alive() is not None
    del array
    gc.collect()
    assert alive() is None


class Protocol:
    def __cuda_stream__(self):
        return 0, 41


STREAMS = {
    "__cuda_stream__": (Protocol(), 41),
    "torch": (types.SimpleNamespace(cuda_stream=42), 42),
    "CuPy": (types.SimpleNamespace(ptr=43), 43),
    "PyCUDA": (types.SimpleNamespace(handle=44), 44),
    "number": (45, 45),
    "default": (0, 1),
    "none": (None, 1),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_the_stream_of_the_caller(kind):
    given, expected = STREAMS[kind]
    assert interface(trtmatte.from_device(0x4000, (4, 6, 3), cuda_stream=given))["stream"] == expected
    assert interface(trtmatte.from_device(Array(), cuda_stream=given))["stream"] == expected


def test_an_array_keeps_all_but_its_stream():
    array = trtmatte.from_device(Array(stream=40, readonly=True), cuda_stream=Protocol())
    assert interface(array) == {**Array(stream=41, readonly=True).__cuda_array_interface__}
    assert interface(trtmatte.from_device(Array(stream=40)))["stream"] == 40


@pytest.mark.parametrize(
    ("memory", "shape", "dtype", "message"),
    [
        (Allocation(1), None, None, r"a Allocation, which has no shape; expected from_device\(memory, shape, dtype\)"),
        (Array(), (2, 3), None, r"a Array with the shape \(4, 6, 3\); .* leave shape, dtype and strides out"),
        ("text", (2, 3), None, "^memory is a str; expected a pointer to a CUDA device, or an array"),
        (np.zeros(3), (3,), None, "^memory is a ndarray; expected a pointer to a CUDA device"),
        (0x4000, (2, -3), None, r"cannot have the shape \(2, -3\) .*no negative sizes"),
        (0x4000, (2, 3), "bytes9", "the dtype 'bytes9'"),
        (0x4000, 7, None, "cannot have the shape 7"),
        (types.SimpleNamespace(handle=7, size=71), (4, 6, 3), None, r"has 71 bytes; uint8 \(4, 6, 3\) needs 72"),
    ],
)
def test_what_does_not_fit_is_refused(memory, shape, dtype, message):
    with pytest.raises(FrameError, match=message):
        trtmatte.from_device(memory, shape, dtype)


def test_a_session_on_the_cpu_names_the_remedies():
    session = engines.memory().session(device="cpu")
    with pytest.raises(FrameError, match="lives on a CUDA device and this session runs on the CPU"):
        session(trtmatte.from_device(0x4000, (24, 32, 3)))
    with pytest.raises(FrameError, match=r"frame is a Allocation; .*trtmatte.from_device gives a pointer"):
        session(Allocation(0x4000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros(3)}, "has a mask"),
        ({"shape": (4, -6, 3)}, "negative sizes"),
        ({"strides": (4,)}, "as many of each"),
        ({"data": 5}, "does not follow its array protocol"),
        ({"typestr": "strange"}, "does not follow its array protocol"),
        ({"shape": None}, "does not follow its array protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_interfaces_that_lie(changes, message):
    array = Array()
    array.__cuda_array_interface__ |= changes
    with pytest.raises(FrameError, match=f"memory .*{message}"):
        trtmatte.from_device(array)
