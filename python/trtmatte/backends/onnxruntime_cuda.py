"""ONNX Runtime on CUDA devices, for GPUs without TensorRT."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trtmatte.backends import cuda
from trtmatte.backends.interface import Backend, LoadRequest, Run
from trtmatte.backends.onnxruntime import ONNX_ALONE
from trtmatte.errors import BackendError
from trtmatte.format.stages import PATCHES
from trtmatte.support.packages import release_of

__all__ = ["BACKEND", "TYPES", "Network", "preload", "unavailable_reason"]

_PROVIDER: Final = "CUDAExecutionProvider"
_INSTALL: Final = "pip install onnxruntime-gpu"
_INSTALL_LIBRARIES: Final = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
_CAPTURED_FROM: Final = (1, 30)
TYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int32)": "int32"}


def unavailable_reason() -> str | None:
    """The reason why ONNX Runtime cannot run on CUDA devices, with the remedy; None if it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed: {_INSTALL}"
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        providers = onnxruntime.get_available_providers()
    except (Exception, SystemExit) as error:  # a missing shared library can raise anything
        return f"ONNX Runtime is installed but cannot be loaded ({error}): {_INSTALL}"
    if _PROVIDER not in providers:
        return f"the ONNX Runtime that is installed runs on the CPU alone: {_INSTALL}"
    try:
        preload(onnxruntime)
        for library in _libraries(onnxruntime):
            ctypes.CDLL(str(library))
    except Exception as error:  # an OSError of the loader, or whatever preloading raises
        return f"ONNX Runtime's CUDA provider cannot be loaded ({error}): {_INSTALL_LIBRARIES}"
    return None


def preload(onnxruntime: Any) -> None:
    """Load CUDA and cuDNN from NVIDIA's packages, where the loader does not look. Versions before 1.21 cannot."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()


def _libraries(onnxruntime: Any) -> list[Path | str]:
    """The provider, and cuDNN, which newer versions load at their first convolution."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    provider = sorted(folder.glob("libonnxruntime_providers_cuda.so"))
    return [*provider, "libcudnn.so.9"] if provider else []


class Network:
    """One network stage on one CUDA stream. The runtime cannot share it among sessions."""

    def __init__(self, model: bytes, index: int, cuda_stream: int, patches: int, *, tf32: bool = False) -> None:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        preload(onnxruntime)
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.add_session_config_entry(*ONNX_ALONE)
        if patches:
            options.add_free_dimension_override_by_name(PATCHES, patches)
        # TF32 has no more mantissa than float16, and the runtime uses it unless it is told not to.
        settings = {"device_id": str(index), "user_compute_stream": str(cuda_stream), "use_tf32": str(int(tf32))}
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=[(_PROVIDER, settings)], enable_fallback=False
            )
        except Exception as error:  # the runtime's own exceptions share no base
            raise BackendError(f"ONNX Runtime cannot load the network on cuda:{index}: {error}") from error
        if _PROVIDER not in self._session.get_providers():
            raise BackendError(f"ONNX Runtime fell back to the CPU: are its CUDA and cuDNN there? {_INSTALL_LIBRARIES}")
        self._index, self._version = index, str(onnxruntime.__version__)
        self._options = onnxruntime.RunOptions()
        # A run ends when its work on the CUDA stream ends; nothing waits for it here.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        puts = (*self._session.get_inputs(), *self._session.get_outputs())
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())
        self.dtypes: Mapping[str, str] = {each.name: TYPES[each.type] for each in puts}

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
        """Before 1.30 a captured Concat or Split reads host memory that the runtime may use for something else later.

        Nothing else is known beforehand: a capture fails if it is impossible.
        """
        if release_of(self._version) >= _CAPTURED_FROM:
            return ""
        return f"ONNX Runtime is {self._version}; expected 1.30 or later: pip install --upgrade onnxruntime-gpu"

    def _place(self, array: Any) -> tuple[Any, ...]:
        """The arguments that bind an array: its device, type, shape and address."""
        return "cuda", self._index, array.dtype.type, array.shape, array.address


def _load(request: LoadRequest) -> dict[str, Network]:
    memory = request.memory
    return {
        name: Network(request.model(name), memory.index, memory.cuda_stream, request.patches, tf32=request.tf32)
        for name in request.names
    }


BACKEND = Backend(
    "onnxruntime",
    "ONNX Runtime",
    device="cuda",
    rank=30,
    unavailable_reason=lambda device: cuda.unavailable_reason(device) or unavailable_reason(),
    load=_load,
)
