"""Network stages on a CUDA device, by ONNX Runtime: in float32, for GPUs without TensorRT."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from trtmatte.backends import Run
from trtmatte.errors import BackendError
from trtmatte.program import PATCHES

__all__ = ["Network", "why_not"]

_PROVIDER: Final = "CUDAExecutionProvider"
_INSTALL: Final = "pip install onnxruntime-gpu"
_TYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int32)": "int32"}


def why_not() -> str | None:
    """What keeps ONNX Runtime from CUDA devices, with the remedy; None if nothing does."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed: {_INSTALL}"
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except (Exception, SystemExit) as error:  # what a missing library makes of it
        return f"ONNX Runtime is installed but cannot be loaded ({error}): {_INSTALL}"
    if _PROVIDER not in providers:
        return f"the ONNX Runtime that is installed runs on the CPU alone: {_INSTALL}"
    return None


class Network:
    """One network stage on one stream, which the runtime cannot share among sessions."""

    device = "cuda"

    def __init__(self, model: bytes, index: int, stream: int, patches: int) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        if patches:
            options.add_free_dimension_override_by_name(PATCHES, patches)
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=self._providers(index, stream))
        except Exception as error:  # the runtime's own exceptions share no base
            raise BackendError(f"ONNX Runtime cannot load the network on cuda:{index}: {error}") from error
        if self._providers(index, stream)[0][0] not in self._session.get_providers():
            raise BackendError(f"ONNX Runtime fell back to the CPU: are its CUDA and cuDNN there? {_INSTALL}")
        self._index = index
        self._options = onnxruntime.RunOptions()
        # The end of a run is the end of its work on the stream, for which nobody has to wait here.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        puts = (*self._session.get_inputs(), *self._session.get_outputs())
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        self.dtypes: Mapping[str, str] = {each.name: _TYPES[each.type] for each in puts}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """What reads these arrays and writes those, in place, whenever it is called."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_input(name, *self._place(inputs[name]))
        for name in self.outputs:
            binding.bind_output(name, *self._place(outputs[name]))
        held = (inputs, outputs)  # the runtime knows addresses alone

        def run(arrays: object = held) -> None:
            self._session.run_with_iobinding(binding, self._options)

        return run

    def can_capture(self) -> bool:
        """The runtime does not tell; capturing fails where it cannot."""
        return True

    def _place(self, array: Any) -> tuple[Any, ...]:
        """Where an array is, as the runtime wants to be told."""
        return self.device, self._index, array.dtype.type, array.shape, array.address

    def _providers(self, index: int, stream: int) -> list[tuple[str, dict[str, str]]]:
        """Exact sums: TF32 has the mantissa of float16."""
        return [(_PROVIDER, {"device_id": str(index), "user_compute_stream": str(stream), "use_tf32": "0"})]
