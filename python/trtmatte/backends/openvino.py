"""OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Mapping
from typing import Any

from trtmatte.backends import library
from trtmatte.backends.interface import Backend, Run
from trtmatte.errors import BackendError, EngineError
from trtmatte.support.cache_folder import private_folder

__all__ = ["BACKEND", "Network"]


class Network:
    """One network stage, compiled for this processor."""

    def __init__(self, model: bytes, threads: int, patches: int) -> None:
        core = _core()
        try:
            network = core.read_model(model)
            network.reshape({each.any_name: _fixed(each.partial_shape, patches) for each in network.inputs})
            self._compiled = core.compile_model(network, "CPU", _options(threads))
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot load the network: {error}") from error

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Bind to arrays, which every call of the result reads and writes in place."""
        tensor = importlib.import_module("openvino").Tensor
        request = self._compiled.create_infer_request()
        names = (each.any_name for each in (*self._compiled.inputs, *self._compiled.outputs))
        arrays = {**inputs, **outputs}
        for name in names:
            request.set_tensor(name, tensor(arrays[name], shared_memory=True))

        def run(held: object = arrays) -> None:  # keeps the arrays alive: OpenVINO holds their addresses alone
            request.infer(share_outputs=True)

        return run


@functools.lru_cache
def _core() -> Any:
    try:
        return importlib.import_module("openvino").Core()
    except ImportError as error:
        raise BackendError("OpenVINO is not installed: pip install openvino") from error


def _options(threads: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # its default may be bfloat16, whose errors add up in the states
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinned threads wait for cores that the ops, a decoder or another session use
    }
    with contextlib.suppress(EngineError):  # without a cache folder it compiles each time
        options["CACHE_DIR"] = str(private_folder("openvino"))
    return options


def _fixed(shape: Any, patches: int) -> list[int]:
    """Set the number of patches, the only open dimension of a network."""
    return [patches if each.is_dynamic else each.get_length() for each in shape]


BACKEND = Backend(
    "openvino",
    "OpenVINO",
    device="cpu",
    rank=10,
    unavailable_reason=lambda device: library.unavailable_reason("OpenVINO", "openvino"),
    load=lambda request: request.shared(Network),
)
