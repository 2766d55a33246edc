"""The backends: every module of this folder that offers a `BACKEND`, or several as `BACKENDS`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from trtmatte import backends as folder
from trtmatte.backends.interface import Backend

__all__ = ["all_backends", "names", "on"]


@functools.cache
def all_backends() -> tuple[Backend, ...]:
    """Every backend, in the order in which `auto` prefers them: GPUs first."""
    found: list[Backend] = []
    for each in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{folder.__name__}.{each.name}")
        found += getattr(module, "BACKENDS", [])
        found += [module.BACKEND] if hasattr(module, "BACKEND") else []
    return tuple(sorted(found, key=lambda backend: (backend.device != "cuda", backend.rank)))


def on(device: str) -> dict[str, Backend]:
    """The backends of a kind of device by name, the preferred first. `device` is "cpu" or "cuda"."""
    return {backend.name: backend for backend in all_backends() if backend.device == device}


def names() -> tuple[str, ...]:
    """The names that `backend=` accepts besides "auto", each once."""
    return tuple(dict.fromkeys(backend.name for backend in all_backends()))
