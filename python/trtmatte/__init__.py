"""trtmatte: matting networks as TensorRT engines, frame by frame, nothing leaving the device."""

from trtmatte import _core, errors
from trtmatte._core import get_num_threads, set_num_threads
from trtmatte.errors import (
    BackendError,
    DownloadError,
    EngineError,
    FrameError,
    ModelError,
    SettingError,
    TrtmatteError,
)


def cuda_built() -> bool:
    """Whether the native core has the CUDA forms of the ops."""
    return bool(_core.CUDA_BUILT)


__all__ = [
    "BackendError",
    "DownloadError",
    "EngineError",
    "FrameError",
    "ModelError",
    "SettingError",
    "TrtmatteError",
    "cuda_built",
    "errors",
    "get_num_threads",
    "set_num_threads",
]
