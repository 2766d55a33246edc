"""Plans as the networks of a session: contexts on its CUDA stream, which share one scratch buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtmatte.backends.interface import LoadRequest, Run
from trtmatte.backends.tensorrt.bindings import title
from trtmatte.backends.tensorrt.run import Context, LoadedPlan
from trtmatte.errors import BackendError

__all__ = ["Network", "load"]


class Network:
    """One network stage."""

    def __init__(self, plan: LoadedPlan, memory: Any, scratch: Any) -> None:
        self._plan, self._cuda_stream, self._scratch = plan, memory.cuda_stream, scratch
        self._contexts: list[Context] = []
        self.dtypes: Mapping[str, str] = {name: tensor.dtype for name, tensor in plan.tensors.items()}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Bind to arrays: every call of the result puts the work on the session's CUDA stream."""
        context = self._plan.context()
        if self._plan.scratch_size:
            context.use_scratch(self._scratch.address, self._scratch.nbytes)
        context.bind({name: array.address for name, array in {**inputs, **outputs}.items()}, self._shapes(inputs))
        self._contexts.append(context)
        held = (inputs, outputs, self._scratch)  # keeps the arrays alive: the library holds their addresses alone

        def run(arrays: object = held) -> None:
            context.enqueue(self._cuda_stream)

        return run

    def capture_obstacle(self) -> str:
        """TensorRT-RTX reports one. TensorRT does not; a capture fails if it is impossible."""
        capturable = all(context.can_capture(self._cuda_stream) for context in self._contexts)
        return "" if capturable else f"{self._plan.name} of {title(self._plan.target)} cannot be captured now"

    def _shapes(self, inputs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs that the plan leaves open. The others must match the plan."""
        open_ones = {}
        for name, array in inputs.items():
            planned = self._plan.tensors[name].shape
            if -1 in planned:
                open_ones[name] = array.shape
            elif planned != array.shape:
                raise BackendError(
                    f"the plan of {self._plan.name} has {name} as {planned} and the program as {array.shape}: "
                    "build the engine again"
                )
        return open_ones


def load(target: str, request: LoadRequest) -> dict[str, Network]:
    """The networks of one session. Plans are shared with other sessions; the networks never run at the same time."""

    def loaded(name: str) -> LoadedPlan:
        plan: LoadedPlan = request.once(name, lambda: LoadedPlan(request.plan(name), target=target, name=name))
        return plan

    plans = {name: loaded(name) for name in request.names}
    size = max(plan.scratch_size for plan in plans.values())
    scratch = request.memory.zeros((size,), "uint8") if size else None
    return {name: Network(plan, request.memory, scratch) for name, plan in plans.items()}
