"""trtmatte: matting networks as TensorRT engines, frame by frame, nothing leaving the device."""

from trtmatte import errors
from trtmatte.errors import (
    BackendError,
    DownloadError,
    EngineError,
    FrameError,
    ModelError,
    SettingError,
    TrtmatteError,
)

__all__ = [
    "BackendError",
    "DownloadError",
    "EngineError",
    "FrameError",
    "ModelError",
    "SettingError",
    "TrtmatteError",
    "errors",
]
