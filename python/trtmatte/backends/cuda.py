"""Requirements that every backend on CUDA devices shares."""

from __future__ import annotations

import importlib.util
from typing import Final

from trtmatte import _core
from trtmatte.backends import driver
from trtmatte.support.packages import release_of, version_of

__all__ = ["core_unavailable_reason", "unavailable_reason"]

_INSTALL: Final = "pip install --upgrade 'trtmatte[cuda]'"
_OLDEST: Final = (1, 2)
"""The first `cuda-core` that frees pinned memory though no context is current."""


def unavailable_reason(device: int) -> str | None:
    """The reason why sessions cannot run on a CUDA device, whatever the backend; None if they can."""
    reason = driver.unavailable_reason(device)
    if reason is not None:
        return reason
    if not _core.CUDA_BUILT:
        return "trtmatte was built without CUDA: install it where nvcc is found"
    if _core.cuda_device_count() <= device:
        return "the driver is older than the CUDA that trtmatte was built with: update it, or build with an older nvcc"
    return core_unavailable_reason()


def core_unavailable_reason() -> str | None:
    """The reason why `cuda.core` cannot be used, with the remedy; None if it can."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.core") is None:
        return f"cuda.core is not installed: {_INSTALL}"
    version = version_of("cuda-core")
    if version is not None and release_of(version) < _OLDEST:
        return f"cuda-core {version} is installed, which leaks pinned memory; expected 1.2 or later: {_INSTALL}"
    return None
