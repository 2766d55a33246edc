"""Devices: where the tests of the ops run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    onnxruntime = pytest.importorskip("onnxruntime")
    opened = onnxruntime.InferenceSession.__init__

    def opened_with_a_thread(self: Any, model: Any, options: Any = None, **more: Any) -> None:
        if options is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
        opened(self, model, options, **more)

    onnxruntime.InferenceSession.__init__ = opened_with_a_thread

if core := os.environ.get("TRTMATTE_CORE"):  # another build of the core than the installed one
    specification = importlib.util.spec_from_file_location("trtmatte._core", core)
    assert specification is not None
    assert specification.loader is not None
    sys.modules["trtmatte._core"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sys.modules["trtmatte._core"])

import trtmatte
from tests import reference
from trtmatte import _core
from trtmatte.support.packages import code_hash

ROOT = Path(__file__).parents[1]
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
AVAILABLE_SETS = INSTRUCTION_SETS[: INSTRUCTION_SETS.index(_core.best_instruction_set()) + 1]


def use_own_cache(folder: Path) -> None:
    """Let the tests use this cache folder. What other code has built there is useless, and takes gigabytes."""
    code = folder / "code"
    if not code.exists() or code.read_text() != code_hash():
        for name in ("engines", "openvino"):
            shutil.rmtree(folder / name, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        code.write_text(code_hash())
    os.environ["TRTMATTE_CACHE"] = str(folder)
    os.environ.setdefault("TRTMATTE_CACHE_SIZE", "16GiB")  # the tests need all of their engines


if "TRTMATTE_CACHE" not in os.environ:
    use_own_cache(ROOT / "build" / "test-cache")


def has_cuda() -> bool:
    return trtmatte.cuda_built() and _core.cuda_device_count() > 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chosen = getattr(item, "callspec", None)
        if chosen is not None and any(map(reference.takes_long, chosen.params.values())):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None or has_cuda():
        return
    if os.environ.get("TRTMATTE_REQUIRE_GPU") == "1":
        pytest.fail("needs a CUDA device, which TRTMATTE_REQUIRE_GPU=1 promises", pytrace=False)
    pytest.skip("needs a CUDA device")


class Cpu:
    """Arrays are numpy's, where they are; the ops run with one of the processor's instruction sets."""

    on_cuda = False
    stream = None

    def __init__(self, instruction_set: str) -> None:
        _core.set_instruction_set(instruction_set)

    def put(self, array: np.ndarray) -> Any:
        return array.copy()

    def get(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def workspace(self, size: int) -> Any:
        return None


class Cuda:
    """Arrays are CuPy's, which slices and flips like numpy; the ops run on a stream of their own."""

    on_cuda = True

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        if os.environ.get("TRTMATTE_PLAIN_ALLOCATIONS") == "1":  # under a sanitizer, which does not look into pools
            cupy.cuda.set_allocator(None)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self.stream = self._stream.ptr

    def put(self, array: np.ndarray) -> Any:
        copy = self._cupy.asarray(array)
        self._cupy.cuda.Device().synchronize()
        return copy

    def get(self, array: Any) -> np.ndarray:
        self._stream.synchronize()
        return self._cupy.asnumpy(array)

    def workspace(self, size: int) -> Any:
        return self.put(np.full(size, 0xCD, np.uint8))


class EmulatedArray(np.ndarray):
    """Memory of the CPU that says it is the device's."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.__array_interface__, "version": 3, "stream": 1}


class Emulated:
    """The CUDA forms compiled for the CPU (tests/native/cuda_on_cpu)."""

    on_cuda = True
    stream = 1

    def put(self, array: np.ndarray) -> Any:
        return array.copy().view(EmulatedArray)

    def get(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def workspace(self, size: int) -> Any:
        return self.put(np.full(size, 0xCD, np.uint8))


def cuda_device() -> Cuda | Emulated:
    return Emulated() if _core.CUDA_ARCHITECTURES == "emulated" else Cuda()


@pytest.hookimpl(trylast=True)  # after the marks: the last parameter changes first, and a body's results are kept
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", [*AVAILABLE_SETS, pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Cpu | Cuda | Emulated]:
    """Where an op runs: on the CPU with each instruction set that the machine has, and on a CUDA device."""
    if request.param == "cuda":
        yield cuda_device()
        return
    yield Cpu(request.param)
    _core.set_instruction_set(_core.best_instruction_set())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
