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
_OTHERS_WRITE: Final = 0o022


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
    """A folder in the cache: only its owner can read and write it, since what lies there is trusted.

    Raises an EngineError where another user could have put something there.
    """
    folder = cache_folder() / name
    try:
        for each in (cache_folder(), folder):
            each.mkdir(_PRIVATE, parents=True, exist_ok=True)
            if hasattr(os, "getuid"):
                _make_safe(each)
        if hasattr(os, "getuid") and stat.S_IMODE(folder.stat().st_mode) != _PRIVATE:
            folder.chmod(_PRIVATE)
    except OSError as error:
        raise EngineError(
            f"the cache folder {folder} cannot be used: {error.strerror or error}; "
            "set TRTMATTE_CACHE to a folder that you can write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise EngineError(f"the cache folder {folder} cannot be written; set TRTMATTE_CACHE to one that can")
    return folder


def _make_safe(folder: Path) -> None:
    """Take from others the right to exchange what is in the folder. The cache may lie in one of root's or of all."""
    state = folder.stat()
    owners = {state.st_uid, folder.lstat().st_uid}  # of the folder, and of a link to it
    if owners - {os.getuid(), 0 if folder == cache_folder() else os.getuid()}:
        raise EngineError(
            f"the cache folder {folder} belongs to another user; set TRTMATTE_CACHE to a folder of your own"
        )
    if state.st_mode & _OTHERS_WRITE and not state.st_mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(state.st_mode) & ~_OTHERS_WRITE)
