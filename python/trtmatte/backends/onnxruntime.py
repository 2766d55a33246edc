"""Network stages on the CPU, by ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from trtmatte.backends import Run
from trtmatte.errors import BackendError
from trtmatte.program import PATCHES

__all__ = ["Network", "load"]


class Network:
    """One network stage. Inputs and outputs are arrays by the names that they have in the model."""

    def __init__(self, model: bytes, threads: int = 0, patches: int = 0) -> None:
        """`threads` is how many it may use, 0 leaves that to the machine; `patches` fixes how many a run works on."""
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise BackendError("ONNX Runtime is not installed: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin would take the cores that the ops and a decoder need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if patches:
            options.add_free_dimension_override_by_name(PATCHES, patches)
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

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """What reads these arrays and writes those, in place, whenever it is called."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_input(name, *_place(inputs[name]))
        for name in self.outputs:
            binding.bind_output(name, *_place(outputs[name]))

        def run(held: object = (inputs, outputs)) -> None:  # the runtime knows addresses alone
            self._session.run_with_iobinding(binding)

        return run


def load(model: bytes, *, patches: int, threads: int) -> Network:
    return Network(model, threads, patches)


def _place(array: Any) -> tuple[Any, ...]:
    """Where an array is, as the runtime wants to be told."""
    return "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
