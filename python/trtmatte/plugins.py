"""The plugin library: our ops inside plans of TensorRT, for trtexec, Triton, DeepStream and programs of one's own.

It is there if TensorRT's headers were when trtmatte was built (`TRTMATTE_PLUGINS`). TensorRT-RTX has no plugins: its
registry must never be given this library.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Final

from trtmatte.errors import BackendError

_LIBRARY: Final = "trtmatte_plugins.dll" if sys.platform == "win32" else "libtrtmatte_plugins.so"


def library_path() -> Path | None:
    """The path of the library; None if trtmatte was built without it."""
    path = Path(__file__).with_name(_LIBRARY)
    return path if path.is_file() else None


def is_built() -> bool:
    """Report if this installation has the plugins."""
    return library_path() is not None


def tensorrt_version(library: Path | None = None) -> tuple[int, int]:
    """Major and minor version of the TensorRT that the library was built for; another major version's refuses it."""
    path = library or library_path()
    if path is None:
        raise BackendError(
            "this installation has no TensorRT plugins: build trtmatte with TRTMATTE_PLUGINS=ON, and TensorRT_ROOT or "
            "TRTMATTE_FETCH_TENSORRT_HEADERS=ON"
        )
    try:
        version: int = ctypes.CDLL(str(path)).trtmatteTensorRTVersion()
    except (OSError, AttributeError) as error:
        raise BackendError(f"{path} is not trtmatte's plugin library: {error}") from error
    return version // 1000, version % 1000
