"""trtmatte: matting networks as TensorRT engines, frame by frame, nothing leaving the device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from trtmatte import _core, errors
from trtmatte._core import get_num_threads, set_num_threads
from trtmatte.errors import (
    BackendError,
    DownloadError,
    EngineError,
    FrameError,
    InputError,
    ModelError,
    OutputError,
    SettingError,
    TrtmatteError,
    TruncatedError,
)
from trtmatte.version import __version__

if TYPE_CHECKING:
    from trtmatte import families as families
    from trtmatte import single as single
    from trtmatte.compiler import build as build
    from trtmatte.convert import convert_video as convert_video
    from trtmatte.diagnosis import doctor as doctor
    from trtmatte.engine import Engine as Engine
    from trtmatte.engine import load as load
    from trtmatte.session import Matte as Matte
    from trtmatte.session import Session as Session

# What is imported when it is first asked for, so that `import trtmatte` needs numpy and the native core alone.
_LAZY: Final = {
    "Engine": "engine",
    "families": "families",
    "single": "single",
    "load": "engine",
    "Matte": "session",
    "Session": "session",
    "build": "compiler",
    "convert_video": "convert",
    "doctor": "diagnosis",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    value = globals()[name] = module if name == _LAZY[name] else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def cuda_built() -> bool:
    """Whether the native core has the CUDA forms of the ops."""
    return bool(_core.CUDA_BUILT)


__all__ = [
    "BackendError",
    "DownloadError",
    "Engine",
    "EngineError",
    "FrameError",
    "InputError",
    "Matte",
    "ModelError",
    "OutputError",
    "Session",
    "SettingError",
    "TrtmatteError",
    "TruncatedError",
    "__version__",
    "build",
    "convert_video",
    "cuda_built",
    "doctor",
    "errors",
    "families",
    "get_num_threads",
    "load",
    "set_num_threads",
    "single",
]
