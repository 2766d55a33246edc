"""ONNX Runtime on CUDA devices: float32, for GPUs without TensorRT."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from trtmatte.backends import cuda
from trtmatte.backends.interface import Backend, LoadRequest, Run
from trtmatte.errors import BackendError
from trtmatte.format.program import PATCHES

__all__ = ["BACKEND", "Network", "unavailable_reason"]

_PROVIDER: Final = "CUDAExecutionProvider"
_INSTALL: Final = "pip install onnxruntime-gpu"
_TYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int32)": "int32"}


def unavailable_reason() -> str | None:
    """The reason why ONNX Runtime cannot run on CUDA devices, with the remedy; None if it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed: {_INSTALL}"
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except (Exception, SystemExit) as error:  # a missing shared library can raise anything
        return f"ONNX Runtime is installed but cannot be loaded ({error}): {_INSTALL}"
    if _PROVIDER not in providers:
        return f"the ONNX Runtime that is installed runs on the CPU alone: {_INSTALL}"
    return None


class Network:
    """One network stage on one CUDA stream. The runtime cannot share it among sessions."""

    device = "cuda"

    def __init__(self, model: bytes, index: int, cuda_stream: int, patches: int) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        if patches:
            options.add_free_dimension_override_by_name(PATCHES, patches)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=self._providers(index, cuda_stream))
        except Exception as error:  # the runtime's own exceptions share no base
            raise BackendError(f"ONNX Runtime cannot load the network on cuda:{index}: {error}") from error
        if self._providers(index, cuda_stream)[0][0] not in self._session.get_providers():
            raise BackendError(f"ONNX Runtime fell back to the CPU: are its CUDA and cuDNN there? {_INSTALL}")
        self._index = index
        self._options = onnxruntime.RunOptions()
        # A run ends when its work on the CUDA stream ends; nothing waits for it here.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        puts = (*self._session.get_inputs(), *self._session.get_outputs())
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        self.dtypes: Mapping[str, str] = {each.name: _TYPES[each.type] for each in puts}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Bind to arrays, which every call of the result reads and writes in place."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_input(name, *self._place(inputs[name]))
        for name in self.outputs:
            binding.bind_output(name, *self._place(outputs[name]))
        held = (inputs, outputs)  # keeps the arrays alive: the runtime holds their addresses alone

        def run(arrays: object = held) -> None:
            self._session.run_with_iobinding(binding, self._options)

        return run

    def capture_obstacle(self) -> str:
        """Return "". The runtime does not report it; a capture fails if it is impossible."""
        return ""

    def _place(self, array: Any) -> tuple[Any, ...]:
        """The arguments that bind an array: its device, type, shape and address."""
        return self.device, self._index, array.dtype.type, array.shape, array.address

    def _providers(self, index: int, cuda_stream: int) -> list[tuple[str, dict[str, str]]]:
        """The CUDA provider without TF32, whose mantissa is as short as that of float16."""
        return [(_PROVIDER, {"device_id": str(index), "user_compute_stream": str(cuda_stream), "use_tf32": "0"})]


def _load(request: LoadRequest) -> dict[str, Network]:
    memory = request.memory
    return {
        name: Network(request.model(name), memory.index, memory.cuda_stream, request.patches) for name in request.names
    }


BACKEND = Backend(
    "onnxruntime",
    "ONNX Runtime",
    device="cuda",
    rank=30,
    unavailable_reason=lambda device: cuda.unavailable_reason(device) or unavailable_reason(),
    load=_load,
)
