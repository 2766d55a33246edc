"""The cache folder: what was downloaded, built and compiled before."""

from __future__ import annotations

import importlib
import os
import stat
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import EngineError

__all__ = ["cache_folder", "private_folder"]

_PRIVATE: Final = 0o700


def cache_folder() -> Path:
    """`TRTMATTE_CACHE`, or the user's cache directory."""
    if folder := os.environ.get("TRTMATTE_CACHE"):
        return Path(folder)
    try:
        platformdirs: Any = importlib.import_module("platformdirs")
    except ImportError:
        return Path.home() / ".cache" / "trtmatte"
    return Path(platformdirs.user_cache_path("trtmatte", appauthor=False))


def private_folder(name: str) -> Path:
    """A folder in the cache for executable files: only its owner can read and write it."""
    folder = cache_folder() / name
    try:
        folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
        state = folder.stat()
        if hasattr(os, "getuid"):
            _make_private(folder, state)
    except OSError as error:
        raise EngineError(
            f"the cache folder {folder} cannot be used: {error.strerror or error}; "
            "set TRTMATTE_CACHE to a folder that you can write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise EngineError(f"the cache folder {folder} cannot be written; set TRTMATTE_CACHE to one that can")
    return folder


def _make_private(folder: Path, state: os.stat_result) -> None:
    if state.st_uid != os.getuid():
        raise EngineError(
            f"the cache folder {folder} belongs to another user; set TRTMATTE_CACHE to a folder of your own"
        )
    if stat.S_IMODE(state.st_mode) != _PRIVATE:
        folder.chmod(_PRIVATE)
