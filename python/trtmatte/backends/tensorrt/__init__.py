"""TensorRT and TensorRT-RTX: network stages become plans, and plans run on a GPU. Two bindings, one interface.

Importing this imports neither; `why_not` says what is missing here to build for a target, `why_not_run` what is
missing to run its plans.
"""

from trtmatte.backends.tensorrt.bindings import TARGETS, title, version
from trtmatte.backends.tensorrt.build import BuildCancelledError, Plan, Progress, build_plan
from trtmatte.backends.tensorrt.key import Bounds, environment, plan_key, why_not_fit
from trtmatte.backends.tensorrt.run import Context, Engine, Tensor
from trtmatte.backends.tensorrt.targets import targets_available, why_not, why_not_run

__all__ = [
    "TARGETS",
    "Bounds",
    "BuildCancelledError",
    "Context",
    "Engine",
    "Plan",
    "Progress",
    "Tensor",
    "build_plan",
    "environment",
    "plan_key",
    "targets_available",
    "title",
    "version",
    "why_not",
    "why_not_fit",
    "why_not_run",
]
