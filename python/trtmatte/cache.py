"""What was built already: a private folder of engines, each under a key that stands for all that it depends on."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import trtmatte
from trtmatte import engine as engine_file
from trtmatte import files, store
from trtmatte.engine import Engine
from trtmatte.errors import EngineError

__all__ = ["code", "engine", "found_at", "key", "private_folder", "version_of"]

_PRIVATE: Final = 0o700


def key(ingredients: Mapping[str, Any]) -> str:
    """A name for what is made of these ingredients; another where any of them differs."""
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


@functools.lru_cache
def code() -> str:
    """A hash of this package's code: a checkout changes without its version."""
    digest = hashlib.sha256(trtmatte.__version__.encode())
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"\n{path.relative_to(folder).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def engine(key: str, build: Callable[[], Engine], *, force: bool = False) -> Engine:
    """The engine of this key, built unless it is here. Where two processes ask at once, one builds and one waits."""
    path = private_folder("engines") / f"{key}{engine_file.SUFFIX}"
    if not force and (found := found_at(path, key)):
        return found
    with files.alone(path.with_suffix(".lock")):
        if not force and (found := found_at(path, key)):
            return found
        return engine_file.write(build(), path)


def private_folder(name: str) -> Path:
    """A folder in the cache for what will be executed: the user's own, and nobody else's to write or read."""
    folder = store.cache_folder() / name
    try:
        folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
        state = folder.stat()
        if hasattr(os, "getuid"):
            _take(folder, state)
    except OSError as error:
        raise EngineError(
            f"the cache folder {folder} cannot be used: {error.strerror or error}; "
            "set TRTMATTE_CACHE to a folder that you can write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise EngineError(f"the cache folder {folder} cannot be written; set TRTMATTE_CACHE to one that can")
    return folder


def _take(folder: Path, state: os.stat_result) -> None:
    if state.st_uid != os.getuid():
        raise EngineError(
            f"the cache folder {folder} belongs to another user; set TRTMATTE_CACHE to a folder of your own"
        )
    if stat.S_IMODE(state.st_mode) != _PRIVATE:
        folder.chmod(_PRIVATE)


def found_at(path: Path, key: str) -> Engine | None:
    """The engine at this place, if it is the one of this key. Its members are checked when they are used."""
    try:
        found = engine_file.load(path)
    except EngineError:
        return None
    return found if found.manifest.get("key") == key else None
