"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

from trtmatte.backends import library
from trtmatte.backends.interface import Backend, Run
from trtmatte.errors import BackendError
from trtmatte.format.stages import PATCHES
from trtmatte.support.packages import release_of, version_of

__all__ = ["BACKEND", "ONNX_ALONE", "Network", "describe"]

ONNX_ALONE: Final = ("session.load_model_format", "ONNX")
"""The setting with which the runtime takes no bytes for its own format, which nobody checked."""


_DEFORM_CONV_FROM: Final = (1, 25)
_MOST_COLUMNS: Final = 1 << 30  # bytes


class Network:
    """One network stage. Inputs and outputs are arrays by the names that they have in the model."""

    def __init__(self, model: bytes, threads: int = 0, patches: int = 0) -> None:
        """`threads` limits its threads, 0 means no limit; `patches` fixes the number that a run works on."""
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise BackendError("ONNX Runtime is not installed: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry(*ONNX_ALONE)
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
        """Run the network. The outputs are new arrays."""
        results = self._session.run(self.outputs, {name: inputs[name] for name in self.inputs})
        return dict(zip(self.outputs, results, strict=True))

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Run:
        """Bind to arrays, which every call of the result reads and writes in place."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_input(name, *_place(inputs[name]))
        for name in self.outputs:
            binding.bind_output(name, *_place(outputs[name]))

        def run(
            held: object = (inputs, outputs),
        ) -> None:  # keeps the arrays alive
            self._session.run_with_iobinding(binding)

        return run


def describe() -> tuple[str, list[str]]:
    """The version with its providers, and the problem of two packages that overwrite each other."""
    module = importlib.import_module("onnxruntime")
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if version_of(name)]
    wrong = []
    if len(both) == 2:
        wrong = [
            f"{' and '.join(both)} are both installed and overwrite each other: pip uninstall both, then install one"
        ]
    return f"{module.__version__}, {', '.join(module.get_available_providers())}", wrong


def _runs_deform_conv(columns: int) -> bool:
    """It has DeformConv since 1.25, and holds all columns of one at once."""
    return release_of(version_of("onnxruntime") or "0") >= _DEFORM_CONV_FROM and columns <= _MOST_COLUMNS


def _place(array: Any) -> tuple[Any, ...]:
    """The arguments that bind an array: its device, type, shape and address."""
    return "cpu", 0, array.dtype.type, array.shape, array.ctypes.data


BACKEND = Backend(
    "onnxruntime",
    "ONNX Runtime",
    device="cpu",
    rank=20,
    unavailable_reason=lambda device: library.unavailable_reason("ONNX Runtime", "onnxruntime"),
    load=lambda request: request.shared(Network),
    runs_deform_conv=_runs_deform_conv,
    describe=describe,
)
