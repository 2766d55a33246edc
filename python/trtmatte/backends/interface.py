"""A backend: a library that runs network stages (`docs/extending/backend.md`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from trtmatte.errors import BackendError

__all__ = ["Backend", "DeviceNetwork", "LoadRequest", "Network", "Run"]

T = TypeVar("T")

Run = Callable[[], object]
"""Runs a network once, over the arrays that it is bound to."""


class Network(Protocol):
    """A loaded network stage. Its weights are in memory once, however many runs are bound to it."""

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Binds the network to arrays: each call of the result reads the inputs and writes the outputs, in place."""


class DeviceNetwork(Network, Protocol):
    """A network stage on a CUDA device. Its runs put their work on the CUDA stream that it was loaded for."""

    dtypes: Mapping[str, str]
    """The types of inputs and outputs."""

    def capture_obstacle(self) -> str:
        """The reason why the runs, each of which has run once, cannot be captured into a CUDA graph now; "" if they
        can."""


@dataclass(frozen=True)
class LoadRequest:
    """The networks that one session needs. `model` and `plan` give a network by its name."""

    names: tuple[str, ...]
    model: Callable[[str], bytes]
    """A network in ONNX: in float32 for the CPU, and for a GPU in the precision of the engine."""
    plan: Callable[[str], bytes]
    """A network compiled for this backend; only for backends with plans."""
    patches: int
    """The number of patches that one run works on; 0 for programs without patches."""
    threads: int
    memory: Any
    """The session's device memory, with its CUDA stream; None on the CPU."""
    once: Callable[[Hashable, Callable[[], Any]], Any]
    """`once(key, make)` makes a value at the first call, and gives the same one to all sessions of the engine."""
    tf32: bool = False
    """On a GPU, what is multiplied in float32 may be rounded to TF32."""

    def shared(self, make: Callable[[bytes, int, int], Network]) -> dict[str, Network]:
        """The networks, each made once for all sessions by `make(model, threads, patches)`."""

        def network(name: str) -> Network:
            key = (name, self.threads, self.patches)
            try:
                made: Network = self.once(key, lambda: make(self.model(name), self.threads, self.patches))
            except BackendError as error:
                raise BackendError(f"{name}: {error}") from error
            return made

        return {name: network(name) for name in self.names}


@dataclass(frozen=True)
class Backend:
    """A library that runs networks on one kind of device. A module in `trtmatte.backends` offers it as `BACKEND`."""

    name: str
    title: str
    """The library's name as its makers write it."""
    device: str
    """`"cpu"` or `"cuda"`."""
    rank: int
    """`backend="auto"` takes the available backend with the lowest rank, on a GPU before the CPU."""
    unavailable_reason: Callable[[int], str | None]
    """The reason why it cannot run on a device (its number; 0 for the CPU), with the remedy; None if it can."""
    load: Callable[[LoadRequest], Mapping[str, Network]]
    has_plans: bool = False
    """It runs plans that were compiled for the device, and not ONNX."""
    runs_deform_conv: Callable[[int], bool] = lambda columns: False
    """Report if it runs ONNX's DeformConv well whose `columns` have this many bytes: where it does not, it gets
    GridSample and convolutions."""
    describe: Callable[[], tuple[str, Iterable[str]]] | None = None
    """For `trtmatte doctor`: the installed version with its abilities, and the problems."""
