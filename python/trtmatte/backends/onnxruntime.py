"""Network stages on the CPU, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtmatte.errors import BackendError


class Network:
    """One network stage. Inputs and outputs are arrays by the names that they have in the model."""

    def __init__(self, model: bytes, threads: int = 0) -> None:
        """`threads` is how many it may use; 0 leaves that to the machine."""
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError("ONNX Runtime is not installed: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin between stages would take the cores that the ops need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own exceptions share no base
            raise BackendError(f"ONNX Runtime cannot load the network: {error}") from error
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the network; the outputs are new arrays."""
        results = self._session.run(self.outputs, {name: inputs[name] for name in self.inputs})
        return dict(zip(self.outputs, results, strict=True))
