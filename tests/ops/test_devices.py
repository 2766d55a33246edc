"""Arrays and streams of CUDA devices."""

from __future__ import annotations

import numpy as np
import pytest

import trtmatte
from tests.conftest import cuda_device
from tests.ops.arguments import FRAME, REFERENCE, A, B, guided
from trtmatte import BackendError, FrameError, SettingError, _core, from_device, ops


class OnCuda:
    """Claims to live on a CUDA device."""

    shape = FRAME.shape

    @property
    def __cuda_array_interface__(self):
        return {"shape": FRAME.shape, "typestr": "|u1", "data": (4096, False), "version": 3}


class OnCudaDlpack:
    shape = FRAME.shape

    def __dlpack_device__(self):
        return (2, 0)


class Elsewhere:
    shape = FRAME.shape

    def __dlpack_device__(self):
        return (7, 0)


@pytest.mark.skipif(trtmatte.cuda_built(), reason="built with CUDA")
@pytest.mark.parametrize("kind", [OnCuda, OnCudaDlpack])
def test_devices_that_this_build_cannot_use(kind):
    out = {name: np.full_like(value, 77) for name, value in REFERENCE.items()}
    with pytest.raises(BackendError, match=r"frame lives on a CUDA device, but .* without CUDA"):
        guided(kind(), out=out)
    assert all((value == 77).all() for value in out.values())
    with pytest.raises(BackendError, match="pha lives on a CUDA device"):
        guided(outputs=("pha",), out={"pha": kind()})


@pytest.mark.skipif(_core.CUDA_ARCHITECTURES in ("", "emulated"), reason="built without CUDA")
def test_memory_that_is_on_no_device():
    with pytest.raises(FrameError, match="frame has a __cuda_array_interface__, but its memory belongs to no CUDA"):
        guided(OnCuda(), out=dict(REFERENCE), cuda_stream=1)


@pytest.mark.gpu
def test_devices_must_agree():
    pha = cuda_device().put(REFERENCE["pha"])
    with pytest.raises(FrameError, match=r"pha is .* lives on CUDA device 0 while frame lives on the CPU"):
        guided(outputs=("pha",), out={"pha": pha}, cuda_stream=1)


@pytest.mark.gpu
def test_a_stream_is_needed():
    with pytest.raises(FrameError, match="frame lives on a CUDA device: pass the CUDA stream"):
        guided(cuda_device().put(FRAME), out=dict(REFERENCE))


@pytest.mark.gpu
def test_pointers_that_were_given_a_shape():
    device = cuda_device()
    arrays = {"frame": device.put(FRAME), "A": device.put(A), "b": device.put(B)}
    arrays |= {name: device.put(np.zeros_like(value)) for name, value in REFERENCE.items()}
    given = {
        name: from_device(
            array.__cuda_array_interface__["data"][0], array.shape, array.dtype, cuda_stream=device.stream
        )
        for name, array in arrays.items()
    }
    out = {name: given[name] for name in REFERENCE}
    guided(given["frame"], given["A"], given["b"], out=out, cuda_stream=device.stream)
    for name, expected in REFERENCE.items():
        assert np.abs(device.get(arrays[name]).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", [OnCuda, OnCudaDlpack])
def test_on_cuda_the_outputs_are_the_callers(kind):
    with pytest.raises(FrameError, match="out lacks fgr, pha"):
        guided(kind())


def test_devices_of_other_kinds():
    with pytest.raises(FrameError, match="frame lives on a device that is neither"):
        guided(Elsewhere())


def test_streams():
    class Protocol:
        def __cuda_stream__(self):
            return (0, 41)

    class Torch:
        cuda_stream = 42

    class Cupy:
        ptr = 43

    assert [ops.stream_handle(each) for each in (None, 40, Protocol(), Torch(), Cupy())] == [None, 40, 41, 42, 43]
    Torch.cuda_stream = Cupy.ptr = 0  # their default stream, which has a number of its own in both array protocols
    assert [ops.stream_handle(each) for each in (0, Torch(), Cupy())] == [1, 1, 1]
    with pytest.raises(SettingError, match="stream is a object"):
        ops.stream_handle(object())
