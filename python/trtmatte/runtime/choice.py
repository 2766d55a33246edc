"""The choice of a backend and a device for an engine."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from trtmatte.backends import cuda, driver, registry, tensorrt
from trtmatte.backends.interface import Backend
from trtmatte.errors import BackendError, EngineError, SettingError
from trtmatte.format.file import EngineFile

__all__ = ["Choice", "choose", "choose_on_cpu", "instead_of"]

_LOG: Final = logging.getLogger("trtmatte")


class Choice(NamedTuple):
    """A backend, the device that it runs on, and the plan that it takes."""

    backend: Backend
    device: int | None = None
    """The number of the CUDA device; None for the CPU."""
    key: str = ""
    """The key of the plan, for a backend with plans."""
    source: EngineFile | None = None
    """The engine that holds that plan."""
    is_free: bool = False
    """Another backend of the CPU may take its place."""


def choose(backend: str, device: Any, engine: EngineFile) -> Choice:
    """Choose the backend and the device for an engine.

    `device` is "cpu", "cuda", "cuda:N", or None: a GPU if one can run the engine, else the CPU. The backend
    "onnxruntime" without a device means the CPU. A plan that fits the GPU is taken. If none fits, the engine is asked
    to build one, once.
    """
    number = _number(device)
    on_cpu, on_cuda = registry.on("cpu"), registry.on("cuda")
    if backend != "auto" and backend not in registry.names():
        raise SettingError(f"backend is {backend!r}; expected {', '.join(('auto', *registry.names()))}")
    if device == "cpu" or (number is None and backend in on_cpu) or (backend != "auto" and backend not in on_cuda):
        if number is not None or (backend != "auto" and backend not in on_cpu):
            raise BackendError(f"{backend} does not run on {device!r}: leave one of them out")
        return Choice(choose_on_cpu(backend), is_free=backend == "auto")
    wanted = on_cuda.values() if backend == "auto" else (on_cuda[backend],)
    found, reasons = _first(wanted, engine, number or 0)
    if found is not None:
        return found
    if number is not None or backend != "auto":
        raise BackendError(f"the engine cannot run on cuda:{number or 0}: {'; '.join(reasons)}")
    meant_for_gpu = any(name in engine.plans for name, each in on_cuda.items() if each.has_plans)
    if meant_for_gpu or driver.unavailable_reason(0) is None:
        _warn_once("running on the CPU: " + "; ".join(reasons))
    return Choice(choose_on_cpu("auto"), is_free=True)


def instead_of(choice: Choice, error: BackendError) -> Choice | None:
    """The choice of the next backend of the CPU, where this one cannot load the networks; None if there is none.

    A warning names the reason.
    """
    if not choice.is_free:
        return None
    later = (each for each in registry.on("cpu").values() if each.rank > choice.backend.rank)
    for backend in later:
        if backend.unavailable_reason(0) is None:
            _warn_once(f"running on {backend.title}: {error}")
            return choice._replace(backend=backend)
    return None


def choose_on_cpu(name: str) -> Backend:
    """The CPU backend of this name; for "auto" the first that is available."""
    backends = registry.on("cpu")
    if name != "auto":
        if name not in backends:
            raise SettingError(f"backend is {name!r}; expected auto, {', '.join(backends)} on the CPU")
        return backends[name]
    reasons = []
    for backend in backends.values():
        reason = backend.unavailable_reason(0)
        if reason is None:
            return backend
        reasons.append(reason)
    raise BackendError(f"nothing here runs networks on the CPU: {'; '.join(reasons)}")


@functools.cache
def _warn_once(text: str) -> None:
    """Log a warning once in a process, and not for each session."""
    _LOG.warning("%s", text)


def _first(wanted: Iterable[Backend], engine: EngineFile, device: int) -> tuple[Choice | None, list[str]]:
    """The first backend that can run the engine, or the reasons why none can."""
    missing = cuda.unavailable_reason(device)
    if missing is not None:
        return None, [missing]
    reasons = {backend: backend.unavailable_reason(device) for backend in wanted}
    available = [backend for backend, reason in reasons.items() if reason is None]
    problems = [reason for reason in reasons.values() if reason is not None]
    with_plans = [backend for backend in available if backend.has_plans]
    for backend in with_plans:
        if key := _fitting_plan(engine, backend.name, device):
            return Choice(backend, device, key, engine), problems
    for backend in with_plans:
        try:
            built = engine.with_plan_for(backend.name, device)
            return Choice(backend, device, list(built.plans[backend.name])[-1], built), problems
        except (BackendError, EngineError) as error:
            problems.append(str(error))
        except Exception as error:  # the libraries' own exceptions share no base
            problems.append(f"{backend.title} cannot build a plan of the engine's networks: {error}")
    without_plans = (backend for backend in available if not backend.has_plans)
    return next((Choice(backend, device) for backend in without_plans), None), problems


def _fitting_plan(engine: EngineFile, target: str, device: int) -> str | None:
    """The key of a plan in the engine that runs on this device."""
    for key, info in engine.plans.get(target, {}).items():
        if tensorrt.plan_unavailable_reason({"target": target, **info.get("environment", {})}, device) is None:
            return key
    return None


def _number(device: Any) -> int | None:
    """The number of a CUDA device; None for the CPU or an open choice."""
    if device in (None, "cpu"):
        return None
    found = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if found is None:
        raise SettingError(f"device is {device!r}; expected 'cpu', 'cuda' or 'cuda:N'")
    return int(found.group(1) or 0)
