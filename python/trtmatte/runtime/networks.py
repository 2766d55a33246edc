"""The networks of an engine, loaded by a backend and shared among sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from trtmatte import _core
from trtmatte.backends.interface import LoadRequest, Network
from trtmatte.errors import BackendError
from trtmatte.format.file import CPU_PLAN, CUDA_PLAN, EngineFile
from trtmatte.runtime.choice import Choice

__all__ = ["forget_in_child", "load_networks"]

_shared: Final[WeakKeyDictionary[EngineFile, dict[Hashable, Any]]] = WeakKeyDictionary()
_sharing = threading.RLock()


def load_networks(engine: EngineFile, choice: Choice, patches: int, memory: Any = None) -> Mapping[str, Network]:
    """The networks of an engine by name. `patches` is the number of patches that one run works on.

    `memory` is the session's device memory, whose device is the current one; None on the CPU.
    """
    with _sharing:
        return choice.backend.load(
            LoadRequest(
                names=tuple(stage.name for stage in engine.program.networks),
                model=lambda name: _model(engine, name, CPU_PLAN if choice.device is None else CUDA_PLAN),
                plan=lambda name: _plan(engine, choice, name),
                patches=patches,
                threads=_core.get_num_threads(),
                memory=memory,
                tf32=engine.uses_tf32,
                once=lambda key, make: _once(engine, choice, key, make),
            )
        )


def _model(engine: EngineFile, name: str, form: tuple[str, str]) -> bytes:
    """A network in ONNX, in the form for this kind of device if the engine has it."""
    plan = engine.plan(*form, name)
    return bytes(engine.network(name) if plan is None else plan)


def _plan(engine: EngineFile, choice: Choice, name: str) -> memoryview:
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
