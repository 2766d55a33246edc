"""The targets that this machine can build for and run."""

from __future__ import annotations

from trtmatte.backends import driver
from trtmatte.backends.tensorrt import bindings
from trtmatte.backends.tensorrt.bindings import TARGETS


def targets_available() -> list[str]:
    """The targets that plans can be built for here."""
    return [target for target in TARGETS if build_unavailable_reason(target) is None]


def build_unavailable_reason(target: str, gpu: int = 0) -> str | None:
    """The reason why this machine cannot build for a target, with the remedy; None if it can."""
    reason = bindings.unavailable_reason(target)
    if reason is None and target == "tensorrt":
        missing = driver.unavailable_reason(gpu)
        if missing is not None:
            return f"TensorRT builds on the GPU that it builds for: {missing}, or build for tensorrt-rtx"
    return reason


def run_unavailable_reason(target: str, gpu: int = 0) -> str | None:
    """The reason why this machine cannot run a target's plans, with the remedy; None if it can."""
    reason = bindings.unavailable_reason(target) or driver.unavailable_reason(gpu)
    if reason is None and target == "tensorrt-rtx":
        known = capabilities()
        found = driver.gpu(gpu)
        if found.capability not in known:
            return (
                f"{found.name} has the compute capability {found.capability}; TensorRT-RTX runs on "
                f"{', '.join(known)}: use tensorrt"
            )
    return reason


def capabilities() -> tuple[str, ...]:
    """The compute capabilities that the installed TensorRT-RTX can build for, as in "8.6"."""
    names = bindings.load("tensorrt-rtx").ComputeCapability.__members__
    return tuple(f"{name[2:-1]}.{name[-1]}" for name in names if name.startswith("SM"))
