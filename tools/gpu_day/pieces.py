"""The pieces and their steps: commands, each with the seconds that it may take."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple


class Step(NamedTuple):
    """A command, run from the repository's root. `archives` are unpacked before it."""

    name: str
    limit: int
    command: tuple[str, ...]
    archives: tuple[str, ...] = ()


def _check(name: str, limit: int, *archives: str) -> Step:
    """A step of tools/gpu_check.sh."""
    return Step(name, limit, (*_CHECK, "out/gpu-day/checks", name), archives)


def _ours(name: str, limit: int, module: str, *arguments: str, archives: tuple[str, ...] = ()) -> Step:
    return Step(name, limit, (sys.executable, "-m", f"tools.gpu_day.steps.{module}", *arguments), archives)


def _tensorrt(name: str, limit: int) -> Step:
    return _ours(name, limit, "tensorrt_models", name, archives=_TENSORRT)


def _pytest(name: str, limit: int, *arguments: str, archives: tuple[str, ...] = ()) -> Step:
    return Step(name, limit, (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments), archives)


def _benchmarks(name: str, limit: int, *subjects: str, archives: tuple[str, ...] = ()) -> Step:
    measured = ("--device", "cuda", "--out", "out/gpu-day/benchmarks", "--only", *subjects)
    return Step(name, limit, (sys.executable, "-m", "benchmarks", *measured), archives)


_CHECK: Final = ("tools/gpu_check.sh",)
_TENSORRT: Final = ("tensorrt",)
_ONNXRUNTIME: Final = ("onnxruntime",)
_SESSIONS: Final = ("tests/runtime/session/test_cuda.py", "-m", "gpu", "--durations=5")

CORE: Final = _ours("core", 240, "core")
PIECES: Final[Mapping[str, tuple[Step, ...]]] = {
    "kernels": (
        CORE,
        _check("tests", 240),
        _pytest("sessions", 150, *_SESSIONS, "-k", "(kernel or captured) and not tensorrt and not onnxruntime"),
        _pytest("arrays", 60, "tests/runtime/session/test_interop.py", "-m", "gpu"),
        _check("plugins", 60),
        _check("plugins-memcheck", 90),
    ),
    "tensorrt": (
        _ours("contact", 200, "tensorrt_contact", archives=_TENSORRT),
        _tensorrt("rvm-plan-fp32", 120),
        _tensorrt("rvm-plan-fp16", 120),
        _tensorrt("rvm-stages-fp16", 120),
        _tensorrt("bgmv2-plan-fp16", 150),
        _tensorrt("rvm-stages-fp32", 120),
        _tensorrt("bgmv2-stages-fp16", 150),
        _pytest("sessions-tensorrt", 200, *_SESSIONS, "-k", "tensorrt", archives=_TENSORRT),
    ),
    "sanitizers": (
        _check("memcheck", 240),
        _check("racecheck", 240),
    ),
    "ops": (_benchmarks("op-benchmarks", 240, "ops"),),
    "onnxruntime": (
        _ours("contact", 60, "onnxruntime_contact", archives=_ONNXRUNTIME),
        _pytest("sessions-onnxruntime", 240, *_SESSIONS, "-k", "onnxruntime and not clip", archives=_ONNXRUNTIME),
        _benchmarks("rvm", 300, "rvm-mobilenetv3-1080p", "rvm-mobilenetv3-4k", archives=_ONNXRUNTIME),
    ),
    "more": (
        _pytest("clip", 90, *_SESSIONS, "-k", "clip"),
        _ours("counters", 150, "counters"),
        _benchmarks("races", 330, "bgmv2-mobilenetv2-hd", "streams-4", "batch-4"),
        _check("build", 240),
    ),
    "emulated": (  # in a rehearsal: what runs without a device, with this machine's Python and packages
        Step("emulated", 1800, (*_CHECK, "--rehearse", "out/gpu-day/emulated", "build", "tests", "sessions")),
    ),
}
