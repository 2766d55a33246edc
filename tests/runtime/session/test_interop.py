"""Arrays of other libraries on a CUDA device: frames, outs and results in place, in the order of their streams.

A library that is not installed is skipped. On the fake driver (`fake_driver.py`) all run but those on CUDA's runtime.
"""
# ruff: noqa: F811

from __future__ import annotations

import gc
import os
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from tests.runtime.session import engines, fake_driver
from tests.runtime.session.test_cuda import Kernel, opened, steps  # noqa: F401
from trtmatte import from_device
from trtmatte.backends import onnxruntime_cuda

pytestmark = pytest.mark.gpu

SHAPE = (engines.HEIGHT, engines.WIDTH, 3)
IS_FAKE = not fake_driver.MISSING


@pytest.fixture(autouse=True, params=range(6) if IS_FAKE else [0])
def seed(request):
    """Of the order in which the fake driver's streams get their turns."""
    if not IS_FAKE:
        yield
        return
    gc.collect()
    fake_driver.begin(request.param)
    yield
    gc.collect()
    assert fake_driver.broken_rules() == []


@pytest.fixture
def open_session(opened, monkeypatch):
    """Sessions over whatever runs the tiny network here, which does not matter to arrays."""
    if IS_FAKE or onnxruntime_cuda.unavailable_reason() is not None:
        monkeypatch.setattr(onnxruntime_cuda, "Network", fake_driver.Network if IS_FAKE else Kernel)
        monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    return lambda **options: opened("onnxruntime", **options)


def require_runtime():
    if IS_FAKE:
        pytest.skip("CUDA's runtime does not run on the fake driver")


class Pycuda:
    """Its arrays name no stream. Its streams wait for the default stream, so that only `described` names them."""

    def __init__(self):
        flags = sys.getdlopenflags()
        sys.setdlopenflags(os.RTLD_LAZY)  # the fake driver lacks what is never called
        pytest.importorskip("pycuda.autoprimaryctx")
        sys.setdlopenflags(flags)
        import pycuda.driver
        import pycuda.gpuarray

        self.driver, self.gpuarray = pycuda.driver, pycuda.gpuarray

    def new_stream(self):
        return self.driver.Stream()

    def on(self, stream):
        return nullcontext()

    def empty(self, stream):
        return self.gpuarray.empty(SHAPE, np.uint8)

    def write(self, array, values, stream):
        pinned = self.driver.pagelocked_empty(SHAPE, np.uint8)
        pinned[...] = values
        array.set_async(pinned, stream=stream)
        return pinned

    def described(self, array, stream):
        return array if stream is None else from_device(array, cuda_stream=stream)

    def read(self, array, stream):
        pinned = self.driver.pagelocked_empty(SHAPE, np.uint8)
        array.get_async(stream=stream, ary=pinned)
        (stream or self.driver.Context).synchronize()
        return pinned

    def taken(self, result, stream):
        return self.gpuarray.GPUArray(result.shape, result.dtype, gpudata=result.ptr, base=result)

    def address(self, array):
        return int(array.gpudata)


class PycudaAllocation(Pycuda):
    """Memory without a shape."""

    def empty(self, stream):
        return self.driver.mem_alloc(int(np.prod(SHAPE)))

    def write(self, array, values, stream):
        pinned = self.driver.pagelocked_empty(SHAPE, np.uint8)
        pinned[...] = values
        self.driver.memcpy_htod_async(array, pinned, stream)
        return pinned

    def described(self, array, stream):
        return from_device(array, SHAPE, cuda_stream=stream)

    def read(self, array, stream):
        pinned = self.driver.pagelocked_empty(SHAPE, np.uint8)
        self.driver.memcpy_dtoh_async(pinned, int(array), stream)
        (stream or self.driver.Context).synchronize()
        return pinned

    def taken(self, result, stream):
        return result.ptr

    def address(self, array):
        return int(array)


class Cupy:
    """Its arrays name its current stream."""

    def __init__(self):
        require_runtime()
        self.cupy = pytest.importorskip("cupy")

    def new_stream(self):
        return self.cupy.cuda.Stream(non_blocking=True)

    def on(self, stream):
        return stream or nullcontext()

    def empty(self, stream):
        return self.cupy.empty(SHAPE, self.cupy.uint8)

    def write(self, array, values, stream):
        array.set(values)

    def described(self, array, stream):
        return array

    def read(self, array, stream):
        return array.get()

    def taken(self, result, stream):
        return self.cupy.asarray(result)

    def address(self, array):
        return array.data.ptr


class CupyPointer(Cupy):
    """Its memory without a shape."""

    def described(self, array, stream):
        return from_device(array.data, SHAPE, cuda_stream=stream)

    def taken(self, result, stream):
        return self.cupy.from_dlpack(result)


class Torch:
    """Its tensors name no stream; a session takes its current one."""

    def __init__(self):
        require_runtime()
        self.torch = pytest.importorskip("torch")
        if not self.torch.cuda.is_available():
            pytest.skip("this torch has no CUDA")

    def new_stream(self):
        return self.torch.cuda.Stream()

    def on(self, stream):
        return self.torch.cuda.stream(stream)

    def empty(self, stream):
        return self.torch.empty(SHAPE, dtype=self.torch.uint8, device="cuda")

    def write(self, array, values, stream):
        array.copy_(self.torch.from_numpy(values))

    def described(self, array, stream):
        return array

    def read(self, array, stream):
        return array.cpu().numpy()

    def taken(self, result, stream):
        return result if isinstance(result, self.torch.Tensor) else self.torch.from_dlpack(result)

    def address(self, array):
        return array.data_ptr()


class Numba:
    """Its arrays name the stream that they were made for."""

    def __init__(self):
        self.cuda = pytest.importorskip("numba.cuda")
        if not self.cuda.is_available():
            pytest.skip("this numba finds no CUDA")

    def new_stream(self):
        return self.cuda.stream()

    def on(self, stream):
        return nullcontext()

    def empty(self, stream):
        return self.cuda.device_array(SHAPE, np.uint8, stream=stream or 0)

    def write(self, array, values, stream):
        array.copy_to_device(values, stream=stream or 0)

    def described(self, array, stream):
        return array

    def read(self, array, stream):
        values = array.copy_to_host(stream=stream or 0)
        self.cuda.synchronize()
        return values

    def taken(self, result, stream):
        return self.cuda.as_cuda_array(result)

    def address(self, array):
        return array.__cuda_array_interface__["data"][0]


class CudaPython:
    """Buffers and streams of cuda.core. A buffer has no shape."""

    def __init__(self):
        core = pytest.importorskip("cuda.core")
        self.core, self.device = core, core.Device(0)
        self.device.set_current()

    def new_stream(self):
        return self.device.create_stream()

    def on(self, stream):
        return nullcontext()

    def empty(self, stream):
        return self.device.allocate(int(np.prod(SHAPE)), stream=stream or self.device.default_stream)

    def write(self, array, values, stream):
        values = np.ascontiguousarray(values)
        array.copy_from(self.on_host(values), stream=stream or self.device.default_stream)
        return values

    def described(self, array, stream):
        return from_device(array, SHAPE, cuda_stream=stream or self.device.default_stream)

    def read(self, array, stream):
        values, stream = np.empty(SHAPE, np.uint8), stream or self.device.default_stream
        self.on_host(values).copy_from(array, stream=stream)
        stream.sync()
        return values

    def on_host(self, values):
        return self.core.Buffer.from_handle(values.ctypes.data, values.nbytes)

    def taken(self, result, stream):
        from cuda.core.utils import StridedMemoryView

        stream = stream or self.device.default_stream
        view = StridedMemoryView.from_any_interface(result, stream_ptr=int(stream.handle))
        return self.core.Buffer.from_handle(view.ptr, int(np.prod(SHAPE)), owner=view)

    def address(self, array):
        return int(array.handle)


class CudaPythonView(CudaPython):
    """Its views, over DLPack, which orders the streams itself."""

    def described(self, array, stream):
        from cuda.core.utils import StridedMemoryView

        (stream or self.device.default_stream).sync()  # a view of a buffer knows no stream
        return StridedMemoryView.from_buffer(array, SHAPE, dtype=np.dtype(np.uint8))

    def read(self, array, stream):
        self.device.default_stream.sync()  # the session's work on it comes before that
        return super().read(array, stream)


LIBRARIES = {
    "PyCUDA": Pycuda,
    "PyCUDA's allocations": PycudaAllocation,
    "CuPy": Cupy,
    "CuPy's pointers": CupyPointer,
    "torch": Torch,
    "numba.cuda": Numba,
    "cuda.core": CudaPython,
    "views of cuda.core": CudaPythonView,
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]()


@pytest.fixture(params=[False, True], ids=["default stream", "stream of its own"])
def stream(request, library):
    return library.new_stream() if request.param else None


def test_frames_and_outs_in_place(library, stream, open_session):
    """Read after what the library has put on its stream, written before what it puts there next."""
    options = {"outputs": ("composite",), "background": "green"}
    session, on_cpu = open_session(**options), engines.memory().session(backend="onnxruntime", **options)
    held = []
    with library.on(stream):
        frame, out = library.empty(stream), library.empty(stream)
        for seed in range(8):
            held.append(library.write(frame, engines.noise(seed), stream))
            session(library.described(frame, stream), out=library.described(out, stream))
            if not isinstance(library, CudaPythonView):
                held.append(library.write(frame, engines.noise(77), stream))
            assert steps(library.read(out, stream), on_cpu(engines.noise(seed)).composite) <= 1
    assert (session.stats().bytes_in, session.stats().bytes_out) == (0, 0)


def test_results_in_place(library, stream, open_session):
    options = {"outputs": ("composite",), "background": "green"}
    session, on_cpu = open_session(**options), engines.memory().session(backend="onnxruntime", **options)
    held = []
    with library.on(stream):
        frame = library.empty(stream)
        for seed in range(8):
            held.append(library.write(frame, engines.noise(seed), stream))
            result = session(library.described(frame, stream)).composite
            taken = library.taken(result, stream)
            expected = result.data_ptr() if hasattr(result, "data_ptr") else result.ptr
            assert library.address(taken) == expected
            assert steps(library.read(taken, stream), on_cpu(engines.noise(seed)).composite) <= 1
