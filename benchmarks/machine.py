"""Facts about the machine of a result: processor, GPU, driver, versions, commit. No host names, no paths."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from trtmatte import _core
from trtmatte.version import __version__

_PACKAGES: Final = (
    *("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "onnx", "opencv-python-headless", "pillow"),
    *("tensorrt", "tensorrt-cu13", "tensorrt-cu13-bindings", "tensorrt-rtx", "cuda-core", "cuda-bindings"),
)
_RAPL: Final = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def facts(device: str) -> dict[str, Any]:
    return {
        "name": name(device),
        "device": device,
        "cpu": processor(),
        "processors": processors(),
        "instruction_set": _core.instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": gpu() if device != "cpu" else None,
        "versions": versions(),
    }


def name(device: str) -> str:
    """The name of the machine's folder of results: cpu-2-cores-amd-epyc, cuda-nvidia-h200."""
    if device != "cpu":
        return _slug(f"cuda-{(gpu() or {}).get('name', 'unknown')}")
    return _slug(f"cpu-{processors()}-cores-{processor()}")


def processors() -> int:
    return _core.available_processors()


def processor() -> str:
    """The short name of the processor: AMD EPYC 7B13 for "AMD EPYC 7B13 64-Core Processor"."""
    found = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (match := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)):
        found = match[1]
    found = re.sub(r"\((R|TM)\)|\bCPU\b|@.*|\d+-Core|\bProcessor\b", "", found)
    return " ".join(found.split()) or platform.machine()


@functools.lru_cache
def gpu() -> dict[str, str] | None:
    """Facts about the first GPU, as its driver reports them."""
    fields = ("name", "driver_version", "compute_cap", "memory.total", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "-i", "0"]
    try:
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(zip(fields, (each.strip() for each in line.split(",")), strict=True))


def versions() -> dict[str, str]:
    return {"trtmatte": __version__} | {
        package: metadata.version(package) for package in _PACKAGES if _installed(package)
    }


def commit() -> str:
    """The commit of the checkout, with `+` if files are changed; empty outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()


def work() -> float | None:
    """The seconds that all processors together have worked since the start; None if the system does not report it."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    user, nice, system, _, _, irq, softirq, *_ = (int(each) for each in stat.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def device_memory_used() -> int | None:
    """The bytes of GPU memory in use by all programs; None without a GPU."""
    if (nvml := _nvml()) is None:
        return None
    library, handle = nvml
    sizes = (ctypes.c_ulonglong * 3)()  # total, free, used
    return None if library.nvmlDeviceGetMemoryInfo(handle, sizes) else int(sizes[2])


def energy(device: str) -> float | None:
    """The energy in joules that the device has counted; None if it does not count."""
    if device != "cpu":
        nvml = _nvml()
        millijoules = ctypes.c_ulonglong()
        if nvml is None or nvml[0].nvmlDeviceGetTotalEnergyConsumption(nvml[1], ctypes.byref(millijoules)):
            return None
        return millijoules.value / 1000
    return int(_RAPL.read_text()) / 1e6 if os.access(_RAPL, os.R_OK) else None


@functools.lru_cache
def _nvml() -> tuple[Any, Any] | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
        return None
    return library, handle


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
