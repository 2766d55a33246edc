"""TensorRT and TensorRT-RTX: network stages become plans, and plans run on a GPU. Two bindings, one interface.

Importing this imports neither. `build_unavailable_reason` names what is missing to build for a target,
`run_unavailable_reason` what is missing to run its plans.
"""

from trtmatte.backends import cuda
from trtmatte.backends.interface import Backend, LoadRequest
from trtmatte.backends.tensorrt import network
from trtmatte.backends.tensorrt.bindings import TARGETS, title, version
from trtmatte.backends.tensorrt.build import BuildCancelledError, BuiltPlan, Progress, build_plan
from trtmatte.backends.tensorrt.key import Bounds, environment, plan_key, plan_unavailable_reason
from trtmatte.backends.tensorrt.run import Context, LoadedPlan, Tensor
from trtmatte.backends.tensorrt.targets import (
    build_unavailable_reason,
    run_unavailable_reason,
    targets_available,
)

__all__ = [
    "BACKENDS",
    "TARGETS",
    "Bounds",
    "BuildCancelledError",
    "BuiltPlan",
    "Context",
    "LoadedPlan",
    "Progress",
    "Tensor",
    "build_plan",
    "build_unavailable_reason",
    "environment",
    "plan_key",
    "plan_unavailable_reason",
    "run_unavailable_reason",
    "targets_available",
    "title",
    "version",
]


def _backend(target: str, rank: int) -> Backend:
    def unavailable_reason(device: int) -> str | None:
        return cuda.unavailable_reason(device) or run_unavailable_reason(target, device)

    def load(request: LoadRequest) -> dict[str, network.Network]:
        return network.load(target, request)

    def describe() -> tuple[str, list[str]]:
        reasons = {"build": build_unavailable_reason(target), "run": run_unavailable_reason(target)}
        can = [f"{verb}s plans" for verb, reason in reasons.items() if reason is None]
        problems = [f"cannot {verb}: {reason}" for verb, reason in reasons.items() if reason]
        return ", ".join([version(target), *can]), problems

    return Backend(target, title(target), "cuda", rank, unavailable_reason, load, has_plans=True, describe=describe)


BACKENDS = tuple(_backend(target, rank) for rank, target in enumerate(TARGETS, 10))
