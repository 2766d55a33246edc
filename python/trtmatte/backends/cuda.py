"""Requirements that every backend on CUDA devices shares."""

from __future__ import annotations

import importlib.util

from trtmatte import _core
from trtmatte.backends import driver

__all__ = ["unavailable_reason"]


def unavailable_reason(device: int) -> str | None:
    """The reason why sessions cannot run on a CUDA device, whatever the backend; None if they can."""
    reason = driver.unavailable_reason(device)
    if reason is not None:
        return reason
    if not _core.CUDA_BUILT:
        return "trtmatte was built without CUDA: install it where nvcc is found"
    if _core.cuda_device_count() <= device:
        return "the driver is older than the CUDA that trtmatte was built with: update it, or build with an older nvcc"
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.core") is None:
        return "cuda.core is not installed: pip install 'trtmatte[cuda]'"
    return None
