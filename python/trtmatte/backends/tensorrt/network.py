"""Plans as the networks of a session: contexts on its stream, which share the memory that they work in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtmatte.backends import Run
from trtmatte.backends.tensorrt.run import Context, Engine
from trtmatte.errors import BackendError


class Network:
    """One network stage."""

    def __init__(self, engine: Engine, memory: Any, scratch: Any) -> None:
        self._engine, self._stream, self._scratch = engine, memory.stream, scratch
        self._contexts: list[Context] = []
        self.dtypes: Mapping[str, str] = {name: tensor.dtype for name, tensor in engine.tensors.items()}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """What puts the work on the session's stream, in place, whenever it is called."""
        context = self._engine.context()
        if self._engine.scratch_size:
            context.use_scratch(self._scratch.address, self._scratch.nbytes)
        context.bind({name: array.address for name, array in {**inputs, **outputs}.items()}, self._shapes(inputs))
        self._contexts.append(context)
        held = (inputs, outputs, self._scratch)  # the library knows addresses alone

        def run(arrays: object = held) -> None:
            context.enqueue(self._stream)

        return run

    def can_capture(self) -> bool:
        """TensorRT-RTX tells; TensorRT fails where it cannot."""
        return all(context.can_capture(self._stream) for context in self._contexts)

    def _shapes(self, inputs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Of the inputs that the plan leaves open; the others have to fit."""
        open_ones = {}
        for name, array in inputs.items():
            planned = self._engine.tensors[name].shape
            if -1 in planned:
                open_ones[name] = array.shape
            elif planned != array.shape:
                raise BackendError(
                    f"the plan of {self._engine.name} has {name} as {planned} and the program as {array.shape}: "
                    "build the engine again"
                )
        return open_ones


def for_session(engines: Mapping[str, Engine], memory: Any) -> dict[str, Any]:
    """The networks of one session, which never run at the same time."""
    size = max(engine.scratch_size for engine in engines.values())
    scratch = memory.zeros((size,), "uint8") if size else None
    return {name: Network(engine, memory, scratch) for name, engine in engines.items()}
