"""What runs network stages on a CUDA device, and the choice between that and the CPU."""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from trtmatte import _core
from trtmatte.backends import ON_CPU, Network, choose_on_cpu, onnxruntime_cuda, tensorrt
from trtmatte.engine import Engine
from trtmatte.errors import BackendError, SettingError

__all__ = ["ON_CUDA", "Choice", "DeviceNetwork", "choose", "networks"]

ON_CUDA: Final = (*tensorrt.TARGETS, "onnxruntime")  # the faster first

_LOG: Final = logging.getLogger("trtmatte")


class DeviceNetwork(Network, Protocol):
    """A network stage whose runs put their work on the stream that it was loaded for."""

    dtypes: Mapping[str, str]  # of inputs and outputs


class Choice(NamedTuple):
    """A backend, and the number of the CUDA device that it runs on; None for the CPU."""

    backend: str
    device: int | None = None
    key: str = ""  # of the plan, where the backend has plans


def choose(backend: str, device: Any, engine: Engine) -> Choice:
    """What runs an engine.

    `device` is "cpu", "cuda", "cuda:N", or None: a GPU where there is one that can run it, else the CPU. The name
    "onnxruntime" alone means the CPU.
    """
    number = _number(device)
    if backend == "openvino" or device == "cpu" or (device is None and backend == "onnxruntime"):
        if number is not None or backend in tensorrt.TARGETS:
            raise BackendError(f"{backend} does not run on {device!r}: leave one of them out")
        return Choice(choose_on_cpu(backend))
    if backend not in ("auto", *ON_CUDA):
        known = ("auto", *ON_CPU, *tensorrt.TARGETS)
        raise SettingError(f"backend is {backend!r}; expected {', '.join(known)}")
    wanted = ON_CUDA if backend == "auto" else (backend,)
    found, reasons = _first(wanted, engine, number or 0)
    if found is not None:
        return found
    if number is not None or backend != "auto":
        raise BackendError(f"the engine cannot run on cuda:{number or 0}: {'; '.join(reasons)}")
    if tensorrt.device.why_no_gpu(0) is None:
        _LOG.warning("running on the CPU although there is a GPU: %s", "; ".join(reasons))
    return Choice(choose_on_cpu("auto"))


def networks(engine: Engine, choice: Choice, patches: int, memory: Any) -> dict[str, DeviceNetwork]:
    """The networks of an engine by name. Sessions share those that need not be made for one stream."""
    stages = engine.program.networks
    if choice.backend == "onnxruntime":
        return {
            stage.name: onnxruntime_cuda.Network(
                bytes(engine.network(stage.name)), memory.index, memory.stream, patches
            )
            for stage in stages
        }
    from trtmatte.backends.tensorrt import network

    return network.for_session(_engines(engine, choice), memory)


_loaded: WeakKeyDictionary[Engine, dict[tuple[Any, ...], tensorrt.Engine]] = WeakKeyDictionary()
_loading = threading.Lock()


def _engines(engine: Engine, choice: Choice) -> dict[str, tensorrt.Engine]:
    """The plans, made ready on the current device: once for all sessions."""
    with _loading:
        known = _loaded.setdefault(engine, {})
        for stage in engine.program.networks:
            key = (stage.name, choice)
            if key not in known:
                plan = engine.plan(choice.backend, choice.key, stage.name)
                if plan is None:
                    raise BackendError(f"{engine} has no plan of {stage.name}: build it again on this machine")
                known[key] = tensorrt.Engine(plan, target=choice.backend, name=stage.name)
        return {stage.name: known[stage.name, choice] for stage in engine.program.networks}


def _first(wanted: Sequence[str], engine: Engine, device: int) -> tuple[Choice | None, list[str]]:
    """The first backend that can run it, or why none can."""
    missing = _why_no_cuda(device)
    if missing is not None:
        return None, [missing]
    reasons: list[str] = []
    for backend in wanted:
        if backend == "onnxruntime":
            reason, key = onnxruntime_cuda.why_not(), ""
        else:
            reason, key = _fitting_plan(engine, backend, device)
        if reason is None:
            return Choice(backend, device, key), reasons
        reasons.append(reason)
    return None, reasons


def _why_no_cuda(device: int) -> str | None:
    """What keeps sessions of any backend from this device."""
    reason = tensorrt.device.why_no_gpu(device)
    if reason is not None:
        return reason
    if not _core.CUDA_BUILT:
        return "trtmatte was built without CUDA: install it where nvcc is found"
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.core") is None:
        return "cuda.core is not installed: pip install 'trtmatte[cuda]'"
    return None


def _fitting_plan(engine: Engine, target: str, device: int) -> tuple[str | None, str]:
    """The key of a plan that runs here, or why there is none."""
    plans = engine.plans.get(target, {})
    name = tensorrt.title(target)
    reason = tensorrt.why_not_run(target, device)
    if reason is not None or not plans:
        return reason or f"the engine has no plan for {name}: trtmatte-build --target {target}", ""
    for key, info in plans.items():
        reason = tensorrt.why_not_fit({"target": target, **info.get("environment", {})}, device)
        if reason is None:
            return None, key
    return f"{name}: {reason}", ""


def _number(device: Any) -> int | None:
    """The number of a CUDA device; None where the choice is open, or the CPU's."""
    if device in (None, "cpu"):
        return None
    found = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if found is None:
        raise BackendError(f"device is {device!r}; expected 'cpu', 'cuda' or 'cuda:N'")
    return int(found.group(1) or 0)
