"""Outputs that are refused, before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from tests.ops.arguments import FRAME, REFERENCE, A, Dlpack, Interface, guided
from tests.ops.specification import picture
from trtmatte import FrameError, ops


def untouched(pattern, error=FrameError, *, outputs=("fgr", "pha"), **changes):
    """The call fails with this message, and neither output has changed."""
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()} | changes.pop("out", {})
    before = {name: np.copy(value) for name, value in out.items()}
    with pytest.raises(error, match=pattern):
        guided(outputs=outputs, out=out, **changes)
    for name, value in out.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("wrap", [lambda array: array, memoryview, Interface, Dlpack])
def test_read_only_outputs(wrap):
    frozen = np.full_like(REFERENCE["pha"], 77)
    frozen.flags.writeable = False
    with pytest.raises(FrameError, match=r"pha .*read-only"):
        guided(out={"fgr": REFERENCE["fgr"].copy(), "pha": wrap(frozen)})
    assert (frozen == 77).all()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((12, 16, 3), "uint8"), ((1, 12, 16), "uint8"), ((12, 17, 1), "uint8"), ((2, 12, 16, 1), "uint8"),
     ((12, 16, 1), "int32"), ((12,), "uint8")],
)  # fmt: skip
def test_outputs_of_another_shape_or_type(shape, dtype):
    untouched("pha is", out={"pha": np.full(shape, 77, dtype)})


def test_outputs_whose_elements_share_memory():
    untouched("pha .* share memory", out={"pha": as_strided(np.zeros(16, np.uint8), (12, 16, 1), (0, 1, 1))})


def test_outputs_over_inputs():
    frame = FRAME.copy()
    with pytest.raises(FrameError, match="fgr overlaps frame"):
        guided(frame, outputs=("fgr",), out={"fgr": frame})
    with pytest.raises(FrameError, match="fgr overlaps frame"):
        guided(frame, outputs=("fgr",), out={"fgr": frame[::-1]})
    np.testing.assert_array_equal(frame, FRAME)
    memory = np.zeros((24, 16, 3), np.uint8)
    memory[:12] = FRAME
    with pytest.raises(FrameError, match="overlaps"):
        guided(memory[:12], outputs=("fgr",), out={"fgr": memory[11:23]})
    guided(memory[:12], outputs=("fgr",), out={"fgr": memory[12:]})
    np.testing.assert_array_equal(memory[12:], REFERENCE["fgr"])


def test_outputs_over_outputs():
    memory = np.full((12, 16, 3), 77, np.uint8)
    with pytest.raises(FrameError, match="pha overlaps fgr"):
        guided(out={"fgr": memory, "pha": memory[..., :1]})
    assert (memory == 77).all()


def test_inputs_may_overlap():
    same_maps = guided(A=A, b=A)
    copies = guided(A=A, b=A.copy())
    for one, other in zip(same_maps, copies, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("alpha", [3, 0])
def test_outputs_may_be_channels_of_one_picture(step, alpha):
    """Alpha before or behind its colours: an RGBA or ARGB picture, made of two outputs."""
    memory = np.full((12, 16, 4), 77, np.uint8)
    colours = memory[::step, ::step, :3] if alpha == 3 else memory[::step, ::step, 1:]
    guided(out={"fgr": colours, "pha": memory[::step, ::step, alpha : alpha + 1]})
    np.testing.assert_array_equal(memory[::step, ::step, alpha], REFERENCE["pha"][..., 0])
    np.testing.assert_array_equal(colours, REFERENCE["fgr"])


def test_channels_of_one_picture_that_collide():
    """Rows of one output fall between the pixels of the other."""
    memory = np.full(4000, 77, np.uint8)
    fgr = as_strided(memory, (2, 2, 100, 3), (800, 400, 4, 1))
    pha = as_strided(memory[3:], (2, 2, 100, 1), (800, 401, 4, 1))
    frame = picture(2, 100, batch=2)
    small = np.concatenate([A, A])
    with pytest.raises(FrameError, match="pha overlaps fgr"):
        ops.guided_upsample(frame, small, small, out={"fgr": fgr, "pha": pha})
    assert (memory == 77).all()


def test_views_whose_memory_only_touches():
    memory = np.full((13, 16, 3), 77, np.uint8)
    flat = memory.reshape(-1)
    pha = flat[12 * 16 * 3 :][:16]
    frame, small = FRAME[:1], A
    fgr = memory[:1]
    guided(frame, small, small, out={"fgr": fgr, "pha": pha.reshape(1, 16, 1)})
    assert not (memory[1:12] != 77).any()
