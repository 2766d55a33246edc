"""Arrays that lie: what can be checked is checked, before anything is read or written."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from fuzz.targets._strange import Managed, Tensor, Versioned
from tests.ops.arguments import FRAME, REFERENCE, A, Interface, guided, same
from trtmatte import FrameError, _core, ops

HUGE = 2**62


def named(value):
    """A name of a case that is the same in each process: what is changed."""
    return value if isinstance(value, str) else " ".join(value)


class Lying:
    """An array interface that says something else than the truth."""

    def __init__(self, **changes):
        self.__array_interface__ = {**FRAME.__array_interface__, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (HUGE, HUGE, 3)}, "more elements than any memory"),
        ({"shape": (2**46, 16, 3)}, "more elements than any memory"),
        ({"shape": (0, HUGE, HUGE)}, "more elements than any memory"),
        ({"shape": (12, 16, 2**64)}, "protocol"),
        ({"shape": (1,) * 40}, "40 dimensions"),
        ({"shape": iter((12, 16, 3))}, "its shape is a tuple_iterator; expected a tuple"),
        ({"shape": (12.0, 16, 3)}, "protocol"),
        ({"strides": (HUGE, 3, 1)}, "beyond any memory"),
        ({"strides": (48, 3, -(2**63))}, "beyond any memory"),
        ({"strides": 48}, "its strides is a int; expected a tuple"),
        ({"data": (2**64 - 1, False)}, "addresses that no memory has"),
        ({"data": (2**63 + 8, False)}, "addresses that no memory has"),
        ({"data": (8, False), "strides": (-48, 3, 1)}, "addresses that no memory has"),
        ({"data": (-8, False)}, "protocol"),
        ({"data": (FRAME.ctypes.data,)}, "a tuple of 1; expected two"),
        ({"data": (None, False)}, "protocol"),
        ({"data": None}, "could not be read"),
        ({"data": FRAME.tobytes(), "offset": 2**63 - 1}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": -(2**63)}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": "front"}, "protocol"),
        ({"data": b""}, "beyond its own buffer"),
        ({"typestr": "|u1x"}, "'u1x'"),
        ({"typestr": "<f4294967300"}, "'f4294967300'"),
        ({"typestr": "|é4"}, "'é4'"),
        ({"typestr": ""}, "little-endian"),
        ({"typestr": "!f4"}, "little-endian"),
        ({"typestr": b"|u1"}, "its typestr is a bytes; expected a str"),
        ({"mask": np.zeros((12, 16, 3), bool)}, "has a mask"),
        ({"mask": 5}, "has a mask"),
    ],
    ids=named,
)
def test_interfaces(changes, message):
    with pytest.raises(FrameError, match=f"frame.*{message}"):
        guided(Lying(**changes))


@pytest.mark.parametrize("given", [None, 5, [("shape", (12, 16, 3))], "text"])
def test_interfaces_that_are_no_dictionaries(given):
    with pytest.raises(FrameError, match="frame"):
        guided(type("Odd", (), {"__array_interface__": given})())


def test_an_interface_is_read_once():
    """It cannot say one thing to the check and another to the work."""

    class Changing:
        looks = 0

        @property
        def __array_interface__(self):
            self.looks += 1
            return Lying(**({} if self.looks == 1 else {"shape": (1200, 1600, 3)})).__array_interface__

    same(guided(Changing(), out={name: np.empty_like(value) for name, value in REFERENCE.items()}))


def test_masked_arrays():
    for masked in (np.ma.masked_array(FRAME), np.ma.masked_array(FRAME, mask=FRAME > 9)):
        with pytest.raises(FrameError, match="frame has a mask"):
            guided(masked)
    same(guided(np.ma.masked_array(FRAME).filled(0)))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, FrameError, RecursionError])
@pytest.mark.parametrize("name", ["__array_interface__", "__dlpack_device__", "mask"])
def test_what_a_protocol_raises(name, error):
    class Raising:
        def __getattr__(self, attribute):
            raise error("of its own") if attribute == name else AttributeError(attribute)

    with pytest.raises(FrameError, match=r"frame could not be read as an array: .*of its own"):
        guided(Raising())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_no_fault_of_an_array_is_passed_on(error):
    class Raising:
        @property
        def __array_interface__(self):
            raise error

    with pytest.raises(error):
        guided(Raising())


# ---------------------------------------------------------------------------------------------------------------------
# DLPack, made by hand

new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class ByHand:
    """DLPack's tensor of FRAME, after changes."""

    def __init__(self, *, versioned=True, label=None, major=1, flags=0, freed=True, **changes):
        self._sizes = (ctypes.c_int64 * 3)(*FRAME.shape)
        tensor = Tensor(FRAME.ctypes.data, 1, 0, 3, 1, 8, 1, self._sizes)
        for name, value in changes.items():
            setattr(tensor, name, value)
        self.freed = 0
        kind = dict(Managed._fields_)["deleter"]
        self._deleter = kind(self._free) if freed else kind()
        self._managed: Versioned | Managed
        if versioned:
            self._managed = Versioned(major, 0, None, self._deleter, flags, tensor)
        else:
            self._managed = Managed(tensor, None, self._deleter)
        self._label = label or (b"dltensor_versioned" if versioned else b"dltensor")
        self.capsule = new_capsule(ctypes.addressof(self._managed), self._label, None)

    def _free(self, managed):
        self.freed += 1

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **arguments):
        return self.capsule


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("freed", [True, False])
def test_tensors_are_freed_once_and_used_once(versioned, freed):
    tensor = ByHand(versioned=versioned, freed=freed)
    out = {name: np.empty_like(value) for name, value in REFERENCE.items()}
    same(guided(tensor, out=out))
    assert tensor.freed == int(freed)
    with pytest.raises(FrameError, match="frame could not be read"):
        guided(tensor, out=out)
    assert tensor.freed == int(freed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ndim": -1}, "-1 dimensions"),
        ({"ndim": 2**31 - 1}, "2147483647 dimensions"),
        ({"shape": ctypes.POINTER(ctypes.c_int64)()}, "dimensions without sizes"),
        ({"shape": (ctypes.c_int64 * 3)(HUGE, HUGE, 3)}, "more elements than any memory"),
        ({"shape": (ctypes.c_int64 * 3)(12, -16, 3)}, "negative size"),
        ({"strides": (ctypes.c_int64 * 3)(HUGE, 3, 1)}, "beyond any memory"),
        ({"byte_offset": 2**64 - 8}, "beyond any memory"),
        ({"byte_offset": 2**62}, "addresses that no memory has"),
        ({"data": None}, "no memory"),
        ({"data": None, "byte_offset": 8}, "no memory"),
        ({"lanes": 0}, "holds vectors"),
        ({"lanes": 4}, "holds vectors"),
        ({"bits": 12}, "'u12 bits'"),
        ({"bits": 9}, "'u9 bits'"),
        ({"code": 6}, "'code 6 of 1'"),
        ({"device_type": 7}, "neither the CPU nor CUDA"),
        ({"device_type": 2, "device_id": -1}, "neither the CPU nor CUDA"),
        ({"major": 2}, "uses DLPack 2"),
        ({"label": b"used_dltensor"}, "could not be read"),
    ],
    ids=named,
)
def test_tensors_that_lie(changes, message):
    tensor = ByHand(**changes)
    with pytest.raises(FrameError, match=f"frame.*{message}"):
        guided(tensor, out={name: np.empty_like(value) for name, value in REFERENCE.items()})
    assert tensor.freed == ("label" not in changes)


def test_tensors_that_are_no_capsules():
    for given in (None, 5, FRAME):
        tensor = ByHand()
        tensor.capsule = given
        with pytest.raises(FrameError, match="frame could not be read"):
            guided(tensor)


# ---------------------------------------------------------------------------------------------------------------------
# Outputs over themselves


@pytest.mark.parametrize(
    "strides", [(16, 1, 1), (15, 1, 1), (1, 1, 1), (1, 12, 1), (-15, 1, 1), (17, -2, 1), (0, 1, 1)], ids=str
)
def test_outputs_over_themselves(strides):
    memory = np.full(1000, 77, np.uint8)
    pha = as_strided(memory[500:], (12, 16, 1), strides)
    apart = strides in ((16, 1, 1), (1, 12, 1))
    if apart:
        guided(outputs=("pha",), out={"pha": pha})
        np.testing.assert_array_equal(pha, REFERENCE["pha"])
        return
    with pytest.raises(FrameError, match=r"pha .*share memory"):
        guided(outputs=("pha",), out={"pha": pha})
    assert (memory == 77).all()


def test_samples_over_themselves():
    with pytest.raises(FrameError, match=r"sample .*share memory"):
        ops.frame_sample(FRAME, 4, 4, out=as_strided(np.zeros(64, np.float32), (1, 3, 4, 4), (64, 16, 4, 4)))


def test_copies_over_their_source():
    memory = np.arange(100, dtype=np.uint8)
    with pytest.raises(FrameError, match="source overlaps to"):
        _core.copy(memory[1:], memory[:-1])
    with pytest.raises(FrameError, match="share memory"):
        _core.copy(as_strided(np.zeros(1, np.uint8), (4,), (0,)), np.ones(4, np.uint8))


def test_maps_of_an_interface_without_room():
    with pytest.raises(FrameError, match="A reaches beyond its own buffer"):
        guided(A=Interface(A, data=A.tobytes()[:-4], strides=None))
