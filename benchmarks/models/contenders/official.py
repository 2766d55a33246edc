"""The official ONNX files with numpy before and after: two documented loops in ONNX Runtime, and OpenVINO."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import weights
from benchmarks.models.contenders.base import Array, Contender, green_planes, plate
from benchmarks.models.subjects import Subject
from trtmatte.backends import onnxruntime_cuda
from trtmatte.compiler.families.u2net.spec import MEAN, STD

_STATES = ("r1i", "r2i", "r3i", "r4i")
_OUTPUTS = {"rvm": ("fgr", "pha", "r1o", "r2o", "r3o", "r4o"), "bgmv2": ("pha", "fgr")}


class Official(Contender):
    """numpy around an official file. `_infer` runs the file on inputs by name."""

    def __init__(self, subject: Subject, device: str, folder: Path) -> None:
        super().__init__(subject, device, folder)
        self._file = str(weights.onnx_file(subject, folder))
        self._green = green_planes()
        self._ratio = np.array([subject.scale], np.float32)
        self._outputs = _OUTPUTS.get(subject.family, ())
        self._plate = self._planes(plate(subject)) if subject.family == "bgmv2" else None
        self._mean, self._std = (np.array(each, np.float32).reshape(3, 1, 1) for each in (MEAN, STD))
        self._states: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        self._states = {name: np.zeros((1, 1, 1, 1), np.float32) for name in _STATES}

    def run(self, question: str, given: Any) -> Any:
        if question == "tensor":
            return self._matte(given)
        planes = self._planes(given)
        if self.subject.alpha_alone:
            fgr, pha = planes, self._enlarged(self._matte(self._small(given))[1])
        else:
            fgr, pha = self._matte(planes)
        composite = fgr[0] * pha[0] + self._green * (1 - pha[0])
        return (composite * 255).astype(np.uint8).transpose(1, 2, 0)

    def got(self, question: str, result: Any) -> dict[str, Array]:
        if question != "tensor":
            return {"composite": result}
        return {name: each for name, each in zip(("fgr", "pha"), result, strict=True) if each is not None}

    @abstractmethod
    def _infer(self, feed: dict[str, Any]) -> list[Any]:
        """The outputs of the file."""

    def _matte(self, planes: Array) -> tuple[Any, Any]:
        if self.subject.family == "rvm":
            fgr, pha, *rec = self._infer({"src": planes, **self._states, "downsample_ratio": self._ratio})
            self._states = dict(zip(_STATES, rec, strict=True))
            return fgr, pha
        if self.subject.family == "bgmv2":
            pha, fgr = self._infer({"src": planes, "bgr": self._plate})
            return fgr, pha
        if self.subject.family == "modnet":
            return None, self._infer({self._input: (planes - 0.5) / 0.5})[0]
        pha = self._infer({self._input: (planes / planes.max() - self._mean) / self._std})[0]
        if self.subject.family == "birefnet":  # whose file gives logits
            pha = 1 / (1 + np.exp(-pha))
        low, high = pha.min(), pha.max()
        return None, (pha - low) / (high - low)

    @property
    @abstractmethod
    def _input(self) -> str:
        """The name of the file's only input."""

    def _planes(self, picture: Array) -> Array:
        return (picture.astype(np.float32) / 255).transpose(2, 0, 1)[None]

    def _small(self, picture: Array) -> Array:
        import cv2
        from PIL import Image

        size, values = self.subject.network_size, picture.astype(np.float32) / 255
        if self.subject.family == "modnet":
            return cv2.resize(values, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1)[None]
        planes = (Image.fromarray(values[..., channel]) for channel in range(3))
        return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes])[None]

    def _enlarged(self, pha: Array) -> Array:
        import cv2

        method = cv2.INTER_AREA if self.subject.family == "modnet" else cv2.INTER_LINEAR
        return cv2.resize(pha[0, 0], (self.subject.width, self.subject.height), interpolation=method)[None, None]


class OnnxRuntimeLoop(Official):
    """A loop of `session.run`, with states fed back as arrays."""

    def __init__(self, subject: Subject, device: str, folder: Path, provider: str = "CPUExecutionProvider") -> None:
        import onnxruntime

        super().__init__(subject, device, folder)
        self._runtime = onnxruntime
        if provider != "CPUExecutionProvider":
            onnxruntime_cuda.preload(onnxruntime)
        options = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder), "trt_fp16_enable": True}
        chosen: list[Any] = [(provider, options) if provider.startswith("Tensorrt") else provider]
        if provider.startswith("Tensorrt"):
            chosen.append("CUDAExecutionProvider")
        self._session = onnxruntime.InferenceSession(self._file, providers=chosen)
        if provider not in self._session.get_providers():
            raise RuntimeError(f"ONNX Runtime did not take {provider}")
        self._outputs = self._outputs or (self._session.get_outputs()[0].name,)

    @property
    def _input(self) -> str:
        return str(self._session.get_inputs()[0].name)

    def _infer(self, feed: dict[str, Any]) -> list[Any]:
        return list(self._session.run(list(self._outputs), feed))


class OnnxRuntimeBound(OnnxRuntimeLoop):
    """I/O binding: states and outputs stay in the runtime's own values, on the device if there is one."""

    def reset(self) -> None:
        super().reset()
        self._values: list[Any] = []

    def _infer(self, feed: dict[str, Any]) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in feed.items():
            if name not in _STATES:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        values = self._values or [
            self._runtime.OrtValue.ortvalue_from_numpy(feed[name], self.device) for name in _STATES if name in feed
        ]
        for name, value in zip(_STATES, values, strict=False):
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self.device)
        self._session.run_with_iobinding(binding)
        results = binding.get_outputs()
        if self.subject.family != "rvm":
            return [each.numpy() for each in results]
        self._values = results[2:]
        return [results[0].numpy(), results[1].numpy(), *self._states.values()]


class OpenVino(Official):
    """OpenVINO in float32. Its default may be bfloat16."""

    def __init__(self, subject: Subject, device: str, folder: Path) -> None:
        import openvino

        super().__init__(subject, device, folder)
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = openvino.Core().compile_model(self._file, "CPU", options)
        self._outputs = self._outputs or (self._compiled.outputs[0].any_name,)

    @property
    def _input(self) -> str:
        return str(self._compiled.inputs[0].any_name)

    def _infer(self, feed: dict[str, Any]) -> list[Any]:
        results = self._compiled(feed)
        return [results[name] for name in self._outputs]
