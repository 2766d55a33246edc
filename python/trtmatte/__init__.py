"""trtmatte removes the background from video, pictures and camera streams, on the CPU or an NVIDIA GPU."""

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
    FullError,
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
    from trtmatte.api import Engine as Engine
    from trtmatte.api import Session as Session
    from trtmatte.api import build as build
    from trtmatte.api import export as export
    from trtmatte.api import load as load
    from trtmatte.apps.cut_out import cut_out as cut_out
    from trtmatte.apps.stream_pool import StreamPool as StreamPool
    from trtmatte.apps.video import convert_video as convert_video
    from trtmatte.reports.comparison import compare as compare
    from trtmatte.reports.doctor import doctor as doctor
    from trtmatte.runtime.session import Matte as Matte
    from trtmatte.runtime.session.cuda.from_device import from_device as from_device
    from trtmatte.support.limits import Limits as Limits

# Imported at first use, so that `import trtmatte` needs numpy and the native core alone.
_LAZY: Final = {
    "Engine": "trtmatte.api",
    "Limits": "trtmatte.support.limits",
    "Matte": "trtmatte.runtime.session",
    "Session": "trtmatte.api",
    "StreamPool": "trtmatte.apps.stream_pool",
    "build": "trtmatte.api",
    "compare": "trtmatte.reports.comparison",
    "convert_video": "trtmatte.apps.video",
    "cut_out": "trtmatte.apps.cut_out",
    "doctor": "trtmatte.reports.doctor",
    "export": "trtmatte.api",
    "families": "trtmatte.families",
    "from_device": "trtmatte.runtime.session.cuda.from_device",
    "load": "trtmatte.api",
}


def __getattr__(name: str) -> Any:
    if name == "single":  # the old name of exports
        from trtmatte.api import single

        return single()
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = globals()[name] = module if _LAZY[name] == f"{__name__}.{name}" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def cuda_built() -> bool:
    """Report if the native core has the CUDA forms of the ops."""
    return bool(_core.CUDA_BUILT)


__all__ = [
    "BackendError",
    "DownloadError",
    "Engine",
    "EngineError",
    "FrameError",
    "FullError",
    "InputError",
    "Limits",
    "Matte",
    "ModelError",
    "OutputError",
    "Session",
    "SettingError",
    "StreamPool",
    "TrtmatteError",
    "TruncatedError",
    "__version__",
    "build",
    "compare",
    "convert_video",
    "cuda_built",
    "cut_out",
    "doctor",
    "errors",
    "export",
    "families",
    "from_device",
    "get_num_threads",
    "load",
    "set_num_threads",
]
