"""Network stages on the CPU, by OpenVINO."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Mapping
from typing import Any

from trtmatte import cache
from trtmatte.backends import Run
from trtmatte.errors import BackendError, EngineError

__all__ = ["Network", "load"]


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
        """What reads these arrays and writes those, in place, whenever it is called."""
        tensor = importlib.import_module("openvino").Tensor
        request = self._compiled.create_infer_request()
        names = (each.any_name for each in (*self._compiled.inputs, *self._compiled.outputs))
        arrays = {**inputs, **outputs}
        for name in names:
            request.set_tensor(name, tensor(arrays[name], shared_memory=True))

        def run(held: object = arrays) -> None:  # OpenVINO knows addresses alone
            request.infer(share_outputs=True)

        return run


def load(model: bytes, *, patches: int, threads: int) -> Network:
    return Network(model, threads, patches)


@functools.lru_cache
def _core() -> Any:
    try:
        return importlib.import_module("openvino").Core()
    except ImportError as error:
        raise BackendError("OpenVINO is not installed: pip install openvino") from error


def _options(threads: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # left to itself it may take bfloat16, whose errors states carry on
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # pinned threads wait where others work too: the ops, a decoder, another session
    }
    with contextlib.suppress(EngineError):  # nowhere to keep what was compiled: it is compiled anew each time
        options["CACHE_DIR"] = str(cache.private_folder("openvino"))
    return options


def _fixed(shape: Any, patches: int) -> list[int]:
    """A network's only open dimension is the number of patches."""
    return [patches if each.is_dynamic else each.get_length() for each in shape]
