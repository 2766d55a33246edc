"""The NVIDIA driver: the GPUs, their properties, and the current device of a thread."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from trtmatte.errors import BackendError

# Attributes of a device by their numbers in the driver's interface, which never change.
_PROCESSORS: Final = 16
_ECC: Final = 32
_MAJOR: Final = 75
_MINOR: Final = 76


@dataclass(frozen=True)
class Gpu:
    """A GPU. For TensorRT, cards of the same name may differ in memory, processors and error correction."""

    name: str
    capability: str
    processors: int
    memory: int
    ecc: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def gpu(index: int = 0) -> Gpu:
    """The GPU of this index; raises a BackendError with the reason if there is none."""
    driver = _driver()
    device = ctypes.c_int()
    _check(driver.cuDeviceGet(ctypes.byref(device), index), f"there is no GPU {index}")
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _check(driver.cuDeviceGetName(name, len(name), device), "the GPU does not report its name")
    _check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "the GPU does not report its memory")
    major, minor, processors, ecc = (
        _attribute(driver, device, number) for number in (_MAJOR, _MINOR, _PROCESSORS, _ECC)
    )
    return Gpu(name.value.decode(), f"{major}.{minor}", processors, memory.value, bool(ecc))


def count() -> int:
    """The number of GPUs; raises a BackendError with the reason if none can be seen."""
    driver, found = _driver(), ctypes.c_int()
    _check(driver.cuDeviceGetCount(ctypes.byref(found)), "the NVIDIA driver does not report the number of GPUs")
    return found.value


def cuda_version() -> tuple[int, int]:
    """The newest CUDA version that the driver supports."""
    driver, found = _driver(), ctypes.c_int()
    _check(driver.cuDriverGetVersion(ctypes.byref(found)), "the NVIDIA driver does not report its version")
    return found.value // 1000, found.value % 1000 // 10


def unavailable_reason(index: int = 0) -> str | None:
    """The reason why there is no such GPU; None if there is."""
    try:
        gpu(index)
    except BackendError as error:
        return str(error)
    return None


def _driver() -> Any:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError as error:
        raise BackendError(f"there is no NVIDIA driver ({name} is not found): install it, or use the CPU") from error
    _check(driver.cuInit(0), "the NVIDIA driver does not start")
    return driver


def _attribute(driver: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int()
    _check(driver.cuDeviceGetAttribute(ctypes.byref(value), number, device), "the GPU does not report its properties")
    return value.value


def _check(status: int, message: str) -> None:
    if status != 0:
        raise BackendError(f"{message} (CUDA error {status}): see what nvidia-smi says")


@contextmanager
def current(index: int = 0) -> Iterator[None]:
    """Make a GPU current for this thread; restores the previous one afterwards."""
    driver = _driver()
    device, context, before = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    _check(driver.cuDeviceGet(ctypes.byref(device), index), f"there is no GPU {index}")
    _check(driver.cuCtxGetCurrent(ctypes.byref(before)), f"GPU {index} cannot be used")
    _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), f"GPU {index} cannot be used")
    try:
        _check(driver.cuCtxSetCurrent(context), f"GPU {index} cannot be used")
        yield
    finally:
        driver.cuCtxSetCurrent(before)
        driver.cuDevicePrimaryCtxRelease_v2(device)
