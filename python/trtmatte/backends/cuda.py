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
from trtmatte.errors import BackendError, EngineError, SettingError

__all__ = ["ON_CUDA", "Choice", "DeviceNetwork", "choose", "networks", "why_not"]

ON_CUDA: Final = (*tensorrt.TARGETS, "onnxruntime")  # the faster first

_LOG: Final = logging.getLogger("trtmatte")


class DeviceNetwork(Network, Protocol):
    """A network stage whose runs put their work on the stream that it was loaded for."""

    dtypes: Mapping[str, str]  # of inputs and outputs

    def can_capture(self) -> bool:
        """Whether its runs, each of which has run once, can be captured into a CUDA graph now."""


class Choice(NamedTuple):
    """A backend, and the number of the CUDA device that it runs on; None for the CPU."""

    backend: str
    device: int | None = None
    key: str = ""  # of the plan, where the backend has plans


def choose(backend: str, device: Any, engine: Engine) -> Choice:
    """What runs an engine.

    `device` is "cpu", "cuda", "cuda:N", or None: a GPU where there is one that can run it, else the CPU. The name
    "onnxruntime" alone means the CPU. A plan that fits is taken; where none does and one can be built here, it is,
    once.
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
    if engine.plans.keys() & {*tensorrt.TARGETS} or tensorrt.device.why_no_gpu(0) is None:  # it was meant to be quicker
        _LOG.warning("running on the CPU: %s", "; ".join(reasons))
    return Choice(choose_on_cpu("auto"))


def why_not(backend: str, device: int = 0) -> str | None:
    """What keeps a backend from this device, whatever the engine, with the remedy; None if nothing does."""
    missing = _why_no_cuda(device)
    if missing is not None:
        return missing
    return onnxruntime_cuda.why_not() if backend == "onnxruntime" else tensorrt.why_not_run(backend, device)


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
_completed: WeakKeyDictionary[Engine, dict[tuple[str, int], Engine]] = WeakKeyDictionary()
_loading = threading.Lock()


def _engines(engine: Engine, choice: Choice) -> dict[str, tensorrt.Engine]:
    """The plans, made ready on the current device: once for all sessions."""
    with _loading:
        known = _loaded.setdefault(engine, {})
        source = _completed.get(engine, {}).get((choice.backend, choice.device or 0), engine)
        for stage in engine.program.networks:
            key = (stage.name, choice)
            if key not in known:
                plan = source.plan(choice.backend, choice.key, stage.name)
                if plan is None:
                    raise BackendError(f"{engine} has no plan of {stage.name}: build it again on this machine")
                known[key] = tensorrt.Engine(plan, target=choice.backend, name=stage.name)
        return {stage.name: known[stage.name, choice] for stage in engine.program.networks}


def _first(wanted: Sequence[str], engine: Engine, device: int) -> tuple[Choice | None, list[str]]:
    """The first backend that can run it, or why none can."""
    missing = _why_no_cuda(device)
    if missing is not None:
        return None, [missing]
    whys = {backend: why_not(backend, device) for backend in wanted}
    able = [backend for backend, reason in whys.items() if reason is None]
    reasons = [reason for reason in whys.values() if reason is not None]
    targets = [backend for backend in able if backend in tensorrt.TARGETS]
    for target in targets:
        if key := _fitting_plan(engine, target, device):
            return Choice(target, device, key), reasons
    for target in targets:
        try:
            return Choice(target, device, _built_plan(engine, target, device)), reasons
        except (BackendError, EngineError) as error:
            reasons.append(str(error))
    return (Choice("onnxruntime", device) if "onnxruntime" in able else None), reasons


def _fitting_plan(engine: Engine, target: str, device: int) -> str | None:
    """The key of a plan of the engine's that runs on this device."""
    for key, info in engine.plans.get(target, {}).items():
        if tensorrt.why_not_fit({"target": target, **info.get("environment", {})}, device) is None:
            return key
    return None


def _built_plan(engine: Engine, target: str, device: int) -> str:
    """The key of a plan that is built for this device, now or at an earlier time."""
    from trtmatte import plans

    with _loading:
        known = _completed.setdefault(engine, {})
        if (target, device) not in known:
            known[target, device] = plans.completed(engine, target, gpu=device, progress=_telling(engine, target))
        return list(known[target, device].plans[target])[-1]


def _telling(engine: Engine, target: str) -> tensorrt.Progress:
    """Nobody asked for a build, so it is said that there is one; how far it is, in tenths, for those who listen."""
    told: set[tuple[str, int]] = set()

    def tell(what: str, done: float) -> None:
        if not told:
            title = tensorrt.title(target)
            _LOG.warning("%s has no %s plan for this GPU: building one, once, which takes a while", engine, title)
        if (step := (what, int(done * 10))) not in told:
            told.add(step)
            _LOG.info("%s: %d %%", what, step[1] * 10)

    return tell


def _why_no_cuda(device: int) -> str | None:
    """What keeps sessions of any backend from this device."""
    reason = tensorrt.device.why_no_gpu(device)
    if reason is not None:
        return reason
    if not _core.CUDA_BUILT:
        return "trtmatte was built without CUDA: install it where nvcc is found"
    if _core.cuda_device_count() <= device:
        return "the driver is older than the CUDA that trtmatte was built with: update it, or build with an older nvcc"
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.core") is None:
        return "cuda.core is not installed: pip install 'trtmatte[cuda]'"
    return None


def _number(device: Any) -> int | None:
    """The number of a CUDA device; None where the choice is open, or the CPU's."""
    if device in (None, "cpu"):
        return None
    found = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if found is None:
        raise SettingError(f"device is {device!r}; expected 'cpu', 'cuda' or 'cuda:N'")
    return int(found.group(1) or 0)
