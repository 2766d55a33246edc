"""What runs network stages.

A backend is a module with one function, `load`, which makes a `Network` of an ONNX model. It is imported when it is
asked for, and with it the library that it drives.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from trtmatte import _core
from trtmatte.engine import Engine
from trtmatte.errors import BackendError, SettingError

__all__ = ["CPU_PLAN", "ON_CPU", "Network", "Run", "choose_on_cpu", "networks", "why_not_on_cpu"]

ON_CPU: Final = ("openvino", "onnxruntime")  # the faster first

CPU_PLAN: Final = ("onnxruntime", "cpu")
"""Target and key of the plan that holds networks in the form that CPUs run fastest, which is ONNX as well."""

Run = Callable[[], object]


class Network(Protocol):
    """A network stage, loaded: its weights are there once, however many runs are bound to it."""

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """What reads these arrays and writes those, in place, whenever it is called."""


def why_not_on_cpu(name: str) -> str | None:
    """What keeps a backend from running on the CPU, with the remedy; None if nothing does."""
    title = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}[name]
    if importlib.util.find_spec(name) is None:
        return f"{title} is not installed: pip install {name}"
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # what a missing library makes of it
        return f"{title} is installed but cannot be loaded ({error}): pip install --force-reinstall {name}"
    return None


def choose_on_cpu(name: str) -> str:
    """The backend of this name; for `auto` the fastest that is here."""
    if name == "auto":
        reasons = []
        for each in ON_CPU:
            reason = why_not_on_cpu(each)
            if reason is None:
                return each
            reasons.append(reason)
        raise BackendError(f"nothing here runs networks on the CPU: {'; '.join(reasons)}")
    if name not in ON_CPU:
        raise SettingError(f"backend is {name!r}; expected auto, {', '.join(ON_CPU)} on the CPU")
    return name


_loaded: WeakKeyDictionary[Engine, dict[tuple[Any, ...], Network]] = WeakKeyDictionary()
_loading = threading.Lock()


def networks(engine: Engine, backend: str, patches: int) -> dict[str, Network]:
    """The networks of an engine by name, each loaded once for all sessions; `patches` is how many a run works on."""
    load = importlib.import_module(f"trtmatte.backends.{backend}").load
    threads = _core.get_num_threads()
    with _loading:
        known = _loaded.setdefault(engine, {})
        for stage in engine.program.networks:
            key = (stage.name, backend, patches, threads)
            if key not in known:
                plan = engine.plan(*CPU_PLAN, stage.name)
                model = engine.network(stage.name) if plan is None else plan
                known[key] = load(bytes(model), patches=patches, threads=threads)
        return {stage.name: known[stage.name, backend, patches, threads] for stage in engine.program.networks}
