"""Engines that were built before: a private folder of engine files, each named by a key of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trtmatte.errors import EngineError
from trtmatte.format import file as engine_file
from trtmatte.format.file import EngineFile
from trtmatte.support import cache_contents, files
from trtmatte.support.cache_folder import private_folder

__all__ = ["copy_of", "engine", "key"]


def key(ingredients: Mapping[str, Any]) -> str:
    """A name for what is built from these ingredients. Any change of an ingredient changes the name."""
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def engine(key: str, build: Callable[[], EngineFile], *, force: bool = False) -> EngineFile:
    """The engine with this key, built unless it is cached. Where two processes ask at once, one builds, one waits.

    A new one makes room for itself: the cache stays within its limit.
    """
    limit = cache_contents.limit()
    folder = private_folder(cache_contents.ENGINES)
    path = folder / f"{cache_contents.code_mark()}-{key}{engine_file.SUFFIX}"
    if not force and (found := _used(path, key)):
        return found
    with files.alone(path.with_suffix(".lock")):
        if not force and (found := _used(path, key)):
            return found
        made = engine_file.write(build(), path)
        cache_contents.shrink(path, limit)
        return made


def copy_of(engine: EngineFile, path: Path) -> EngineFile | None:
    """The engine at this path, if it is this one to the last byte of its networks and plans."""
    found = _found(path, engine.manifest["key"])
    return found if found is not None and found.manifest == engine.manifest else None


def _used(path: Path, key: str) -> EngineFile | None:
    found = _found(path, key)
    if found is not None:
        with suppress(OSError):
            os.utime(path)  # the time of its last use
    return found


def _found(path: Path, key: str) -> EngineFile | None:
    """The engine at this path, if it has this key. A damaged one is none: it is built again."""
    try:
        found = engine_file.read(path)
        if found.manifest["key"] != key:
            return None
        found.verify()
    except EngineError:
        return None
    return found
