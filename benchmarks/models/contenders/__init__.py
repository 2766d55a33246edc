"""All contenders by name. Each is imported and opened in its own process."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.models.subjects import Subject

_HERE: Final = "benchmarks.models.contenders"


@dataclass(frozen=True)
class Entry:
    """A contender. `what` describes it in reports."""

    what: str
    module: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()  # packages
    devices: tuple[str, ...] = ("cpu", "cuda")
    is_possible: Callable[[], bool] = lambda: True

    def open(self, subject: Subject, device: str, folder: Path) -> Any:
        kind = getattr(importlib.import_module(f"{_HERE}.{self.module}"), self.kind)
        return kind(subject, device, folder, **self.options)

    def can_run(self, device: str) -> bool:
        installed = all(importlib.util.find_spec(name) is not None for name in self.needs)
        return device in self.devices and installed and self.is_possible()


def _session(backend: str, what: str, needs: tuple[str, ...], **more: Any) -> Entry:
    return Entry(what, "session", "Sessions", {"backend": backend}, needs, **more)


def _torch(form: str, what: str, **options: Any) -> Entry:
    return Entry(what, "pytorch", "Torch", {"form": form, **options}, ("torch",))


def _onnxruntime(kind: str, provider: str, what: str, device: str) -> Entry:
    return Entry(
        what,
        "official",
        kind,
        {"provider": provider},
        ("onnxruntime",),
        (device,),
        functools.partial(_has_provider, provider),
    )


def _has_provider(provider: str) -> bool:
    return provider in importlib.import_module("onnxruntime").get_available_providers()


_CPU, _CUDA, _TRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))

ENTRIES: Final[Mapping[str, Entry]] = {
    "trtmatte": _session("auto", "trtmatte", ()),
    "trtmatte-onnxruntime": _session("onnxruntime", "trtmatte on ONNX Runtime", ("onnxruntime",)),
    "trtmatte-tensorrt-rtx": _session("tensorrt-rtx", "trtmatte on TensorRT-RTX", ("tensorrt_rtx",), devices=("cuda",)),
    "network": Entry("the network stage alone", "session", "Network", {"backend": "auto"}, ("onnxruntime",), ("cpu",)),
    "network-onnxruntime": Entry(
        "the network stage alone, ONNX Runtime",
        "session",
        "Network",
        {"backend": "onnxruntime"},
        ("onnxruntime",),
        ("cpu",),
    ),
    "torch-eager": _torch("eager", "PyTorch, eager"),
    "torch-script": _torch("script", "TorchScript, frozen"),
    "torch-compile": _torch("compile", "torch.compile"),
    "onnxruntime-loop": _onnxruntime("OnnxRuntimeLoop", _CPU, "ONNX Runtime, the documents' loop", "cpu"),
    "onnxruntime-bound": _onnxruntime("OnnxRuntimeBound", _CPU, "ONNX Runtime, I/O binding", "cpu"),
    "openvino": Entry("OpenVINO, the official file", "official", "OpenVino", {}, ("openvino",), ("cpu",)),
    "onnxruntime-cuda-loop": _onnxruntime("OnnxRuntimeLoop", _CUDA, "ONNX Runtime on CUDA, the loop", "cuda"),
    "onnxruntime-cuda-bound": _onnxruntime("OnnxRuntimeBound", _CUDA, "ONNX Runtime on CUDA, I/O binding", "cuda"),
    "onnxruntime-tensorrt-bound": _onnxruntime(
        "OnnxRuntimeBound", _TRT, "ONNX Runtime on TensorRT, I/O binding", "cuda"
    ),
}

REFERENCE: Final = Entry("PyTorch in float32", "pytorch", "Torch", {"exact": True}, ("torch",))
"""The reference for all results, which are compared before anything is timed."""
