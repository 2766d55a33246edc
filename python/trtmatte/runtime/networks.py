"""The networks of an engine, loaded by a backend and shared among sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from trtmatte import _core
from trtmatte.backends.interface import LoadRequest, Network, Run
from trtmatte.errors import BackendError, TrtmatteError
from trtmatte.format.file import CPU_PLAN, CUDA_PLAN, DEFORM_CONV, EngineFile
from trtmatte.runtime.choice import Choice

__all__ = ["forget_in_child", "load_networks"]

_shared: Final[WeakKeyDictionary[EngineFile, dict[Hashable, Any]]] = WeakKeyDictionary()
_sharing = threading.RLock()


def load_networks(engine: EngineFile, choice: Choice, patches: int, memory: Any = None) -> Mapping[str, Network]:
    """The networks of an engine by name. `patches` is the number of patches that one run works on.

    `memory` is the session's device memory, whose device is the current one; None on the CPU.
    """
    with _sharing, _naming(f"the networks of {engine}"):
        networks = choice.backend.load(
            LoadRequest(
                names=tuple(stage.name for stage in engine.program.networks),
                model=lambda name: _model(engine, name, choice),
                plan=lambda name: _plan(engine, choice, name),
                patches=patches,
                threads=_core.get_num_threads(),
                memory=memory,
                tf32=engine.uses_tf32,
                once=lambda key, make: _once(engine, choice, key, make),
            )
        )
    return {name: _Named(name, network) for name, network in networks.items()}


class _Named:
    """A network whose errors name it."""

    def __init__(self, name: str, network: Network) -> None:
        self._name, self._network = name, network

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._network, attribute)

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        with _naming(f"the stage {self._name}"):
            return self._network.bind(inputs, outputs)


@contextmanager
def _naming(title: str) -> Iterator[None]:
    """Name what failed in the errors of libraries, whose exceptions share no base."""
    try:
        yield
    except BackendError as error:
        raise BackendError(f"{title} cannot be used: {error}") from error
    except (TrtmatteError, MemoryError):
        raise
    except Exception as error:
        raise BackendError(f"{title} cannot be used: {error}: build the engine again") from error


def _model(engine: EngineFile, name: str, choice: Choice) -> bytes:
    """A network in ONNX, in the form for this kind of device if the engine has it and the backend runs it."""
    target, key = CPU_PLAN if choice.device is None else CUDA_PLAN
    columns = engine.plans.get(target, {}).get(key, {}).get(DEFORM_CONV)
    runs = not isinstance(columns, int) or choice.backend.runs_deform_conv(columns)
    plan = engine.plan(target, key, name) if runs else None
    return engine.network(name) if plan is None else plan


def _plan(engine: EngineFile, choice: Choice, name: str) -> bytes:
    plan = (choice.source or engine).plan(choice.backend.name, choice.key, name)
    if plan is None:
        raise BackendError(f"{engine} has no plan of {name}: build it again on this machine")
    return plan


def _once(engine: EngineFile, choice: Choice, key: Hashable, make: Callable[[], Any]) -> Any:
    """The value of this key, made once for an engine, a backend, a device and a plan."""
    values = _shared.setdefault(engine, {})
    whole_key = (choice.backend.name, choice.device, choice.key, key)
    if whole_key not in values:
        values[whole_key] = make()
    return values[whole_key]


def forget_in_child() -> object:
    """Forget all networks in a forked process, and the lock that a thread of its parent may hold. Returns them."""
    global _sharing
    _sharing = threading.RLock()
    forgotten = list(_shared.values())
    _shared.clear()
    return forgotten
