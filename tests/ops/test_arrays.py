"""Arrays that may be given to an op, and arrays that are refused with the argument's name."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from tests.ops.arguments import FRAME, REFERENCE, A, B, Dlpack, Interface, guided, interface_of_bytes, same
from trtmatte import FrameError

KINDS = {
    "numpy": lambda array: array,
    "memoryview": memoryview,
    "interface": Interface,
    "interface of bytes": interface_of_bytes,
    "dlpack": Dlpack,
    "old dlpack": lambda array: Dlpack(array, versioned=False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind(kind):
    wrap = KINDS[kind]
    same(guided(wrap(FRAME), wrap(A), wrap(B)))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"interface of bytes"}))
def test_outputs_of_every_kind(kind):
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()}
    results = guided(out={name: KINDS[kind](value) for name, value in out.items()})
    assert len(results) == 2
    same(out.values())


def test_ctypes():
    frame = (ctypes.c_ubyte * 3 * 16 * 12).from_buffer_copy(FRAME.tobytes())
    same(guided(frame))


def test_torch():
    torch = pytest.importorskip("torch")
    out = {name: torch.full(value.shape, 77, dtype=torch.uint8) for name, value in REFERENCE.items()}
    guided(*(torch.from_numpy(value.copy()) for value in (FRAME, A, B)), out=out)
    same(each.numpy() for each in out.values())
    planes = torch.from_numpy(FRAME).permute(2, 0, 1)  # a view, HWC in memory
    fgr, _ = guided(planes, layout="CHW")
    np.testing.assert_array_equal(fgr, REFERENCE["fgr"].transpose(2, 0, 1))


def test_torch_refuses_what_must_not_be_shared():
    torch = pytest.importorskip("torch")
    with pytest.raises(FrameError, match="A could not be read"):
        guided(A=torch.from_numpy(A.copy()).requires_grad_())
    with pytest.raises(FrameError, match="b holds values of type"):
        guided(b=torch.from_numpy(B).bfloat16())
    with pytest.raises(FrameError, match=r"pha .* share memory"):
        guided(outputs=("pha",), out={"pha": torch.zeros(1, 1, 1, dtype=torch.uint8).expand(12, 16, 1)})


def test_pil():
    image = pytest.importorskip("PIL.Image")
    same(guided(image.fromarray(FRAME)))
    with pytest.raises(FrameError, match=r"frame is uint8 \(12, 16, 4\)"):
        guided(image.fromarray(FRAME).convert("RGBA"))


def test_read_only_inputs():
    frozen = [value.copy() for value in (FRAME, A, B)]
    for value in frozen:
        value.flags.writeable = False
    same(guided(*frozen))
    same(guided(Dlpack(frozen[0])))


def test_nothing_holds_the_arrays_afterwards():
    class Mine(np.ndarray):
        pass

    frame = FRAME.copy().view(Mine)
    alive = weakref.ref(frame)
    for wrap in KINDS.values():
        guided(wrap(frame))
    with pytest.raises(FrameError):
        guided(frame, A=A[:, :3])
    del frame
    gc.collect()
    assert alive() is None


def test_memory_lives_as_long_as_it_is_used():
    """An object that makes its memory when asked, and keeps no reference."""

    class Fleeting:
        shape = FRAME.shape

        @property
        def __array_interface__(self):
            return interface_of_bytes(FRAME).__array_interface__

    class FleetingDlpack(Dlpack):
        shape = FRAME.shape

        def __dlpack__(self, **arguments):
            return FRAME.copy().__dlpack__(**arguments)

    for _ in range(20):
        same(guided(Fleeting()))
        same(guided(FleetingDlpack(FRAME)))


class Broken:
    """An array interface that says something else than the truth."""

    def __init__(self, **changes):
        self.array = FRAME
        self.shape = FRAME.shape
        self.__array_interface__ = {**FRAME.__array_interface__, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typestr": ">f4"}, "little-endian"),
        ({"typestr": "|b1"}, "'b1'"),
        ({"typestr": "u"}, "type 'u'"),
        ({"typestr": "|ux"}, "'ux'"),
        ({"typestr": 7}, "protocol"),
        ({"shape": "abc"}, "protocol"),
        ({"shape": (12, -16, 3)}, "negative size"),
        ({"strides": (48,)}, "another number of strides"),
        ({"strides": (48, 3, 1, 1)}, "another number of strides"),
        ({"data": (0, False)}, "no memory"),
        ({"data": FRAME.tobytes()[:-1]}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": 1}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "offset": -1}, "beyond its own buffer"),
        ({"data": FRAME.tobytes(), "strides": (-48, 3, 1)}, "beyond its own buffer"),
        ({"data": 5.0}, "could not be read"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_interfaces_that_lie(changes, message):
    with pytest.raises(FrameError, match=f"frame.*{message}"):
        guided(Broken(**changes))


def test_offset_into_a_buffer():
    same(guided(Broken(data=b"front" + FRAME.tobytes(), offset=5)))


def test_interfaces_that_lack_something():
    class Lacking:
        shape = FRAME.shape

        @property
        def __array_interface__(self):
            return {"shape": FRAME.shape}

    with pytest.raises(FrameError, match="frame could not be read"):
        guided(Lacking())


@pytest.mark.parametrize("given", [None, 5, "picture", object(), [[[0, 0, 0]]], {"a": 1}])
def test_things_that_are_no_arrays(given):
    with pytest.raises(FrameError, match="frame"):
        guided(given)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float64", "bool", "complex64", ">f4", ">f2", "<U1"])
@pytest.mark.parametrize("name", ["frame", "A", "b"])
def test_wrong_types(name, dtype):
    with pytest.raises(FrameError, match=f"{name}.*(holds values|read as an array)"):
        guided(**{name: {"frame": FRAME, "A": A, "b": B}[name].astype(dtype)})


@pytest.mark.parametrize("name", ["A", "b"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_maps_are_floats(name, dtype):
    with pytest.raises(FrameError, match=f"{name} is .*expected float16 or float32"):
        guided(**{name: {"A": A, "b": B}[name].astype(dtype)})


def test_frames_are_no_indices():
    with pytest.raises(FrameError, match="frame is int32"):
        guided(FRAME.astype(np.int32))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("frame", (12, 16), r"frame .*\(12, 16\)"),
        ("frame", (12, 16, 4), "3 channels"),
        ("frame", (1, 1, 12, 16, 3), r"\(1, 1, 12, 16, 3\)"),
        ("frame", (0, 16, 3), "at least one"),
        ("frame", (12, 0, 3), "at least one"),
        ("frame", (0, 12, 16, 3), "at least one"),
        ("frame", (), "frame"),
        ("A", (1, 3, 3, 4), "4 channels"),
        ("A", (4, 3), r"\(N, C, h, w\)"),
        ("A", (2, 4, 3, 4), "batch of 2; expected 1"),
        ("A", (1, 4, 0, 4), "at least one"),
        ("b", (1, 4, 3, 5), "expected the size of A"),
        ("b", (1, 5, 3, 4), "4 channels"),
    ],
    ids=str,
)
def test_wrong_shapes(name, shape, message):
    value = np.zeros(shape, np.uint8 if name == "frame" else np.float32)
    with pytest.raises(FrameError, match=message):
        guided(**{name: value})


def test_sides_have_a_limit():
    with pytest.raises(FrameError, match="at most 65536"):
        guided(np.broadcast_to(FRAME[:1, :1], (1, 65537, 3)), outputs=("pha",))


def test_misaligned():
    memory = np.zeros(A.nbytes + 1, np.uint8)
    crooked = memory[1:].view(np.float32).reshape(A.shape)
    with pytest.raises(FrameError, match="A is not aligned"):
        guided(A=crooked)
    odd = as_strided(A.copy(), A.shape, (A.strides[0], A.strides[1], 14, 4))
    with pytest.raises(FrameError, match="A has strides"):
        guided(A=odd)
