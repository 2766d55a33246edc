"""What runs a session's program: on the CPU, or on a CUDA device."""

from __future__ import annotations

from typing import Any

from trtmatte import backends
from trtmatte.backends import cuda as on_cuda
from trtmatte.backends.cuda import Choice
from trtmatte.engine import Engine
from trtmatte.session import cpu
from trtmatte.session.patches import piece_size
from trtmatte.session.settings import Settings


def open_executor(engine: Engine, choice: Choice, settings: Settings) -> Any:
    """An executor with the networks of an engine. `cpu.Executor` and `cuda.executor.Executor` have one interface."""
    program = engine.program
    form = (settings.batch, settings.wanted, settings.scene_cut)
    if choice.device is None:
        return cpu.Executor(program, backends.networks(engine, choice.backend, piece_size(program)), *form)
    from trtmatte.session.cuda.executor import Executor
    from trtmatte.session.cuda.memory import DeviceMemory

    memory = DeviceMemory(choice.device)
    with memory.entered():
        networks = on_cuda.networks(engine, choice, piece_size(program), memory)
        dtypes = {name: kind for network in networks.values() for name, kind in network.dtypes.items()}
        return Executor(program, networks, *form, memory, dtypes)
