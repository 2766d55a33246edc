"""Whole models in TensorRT against the CPU, with ONNX Runtime in the place of TensorRT."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

import trtmatte
from benchmarks.models.subjects import Subject
from tests.compiler.test_export import Runner

pytest.importorskip("torch")
from tools.gpu_day.steps import device_plan, tensorrt_models

SMALL = {
    "rvm": Subject("rvm", "rvm_mobilenetv3", 128, 96, 0.5),
    "bgmv2": Subject("bgmv2", "bgmv2_refine_mobilenetv2", 128, 96, 0.5, 256),
}


class Plan:
    """A plan's graph in ONNX Runtime."""

    def __init__(self, data: bytes, states: Any) -> None:
        self._run = Runner(onnx.load_from_string(data), states)
        self._first = dict(self._run.state)

    def __call__(self, inputs: Any) -> Any:
        made = self._run(**{name: each[None] for name, each in inputs.items()})
        return {name: made[name] for name in tensorrt_models.OUTPUTS}

    def captured(self, inputs: Any) -> Any:
        self._run.state = dict(self._first)
        return [self(each) for each in inputs]

    def layers(self) -> list[str]:
        return ["a layer"]

    def times(self) -> dict[str, float]:
        return {"graph ms": 1.0}


@pytest.fixture
def without_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build, export = trtmatte.build, trtmatte.export

    def export_graph(path: Path, kind: str, *, out: Path, **options: Any) -> Any:
        made = export(path, "onnx", out=out.with_suffix(".onnx"), **options)
        out.write_bytes(made.graph.SerializeToString())
        return made

    def build_for_cpu(path: Path, *, target: str, **options: Any) -> Any:
        engine = build(path, target="onnxruntime", **options)

        def session(*, backend: str, **more: Any) -> Any:
            assert backend in (target, "onnxruntime")
            return engine.session(backend="onnxruntime", **more)

        return SimpleNamespace(manifest=engine.manifest, session=session)

    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_models, "subjects", lambda selection: SMALL.values())
    monkeypatch.setattr(tensorrt_models, "SUBJECTS", {name: name for name in SMALL})
    monkeypatch.setattr(tensorrt_models, "FILES", tmp_path / "files")
    monkeypatch.setattr(tensorrt_models, "TIMED", 4)
    monkeypatch.setattr(trtmatte, "export", export_graph)
    monkeypatch.setattr(trtmatte, "build", build_for_cpu)
    monkeypatch.setattr(device_plan, "DevicePlan", Plan)
    return tmp_path


@pytest.mark.parametrize("name", ["rvm-plan-fp32", "rvm-stages-fp32", "bgmv2-plan-fp32", "bgmv2-stages-fp16"])
def test_a_comparison(name: str, without_tensorrt: Path) -> None:
    comparison = tensorrt_models.Comparison(*name.split("-"))
    assert comparison.on_cpu()["ms a frame"] > 0
    numbers = comparison.in_tensorrt()
    assert numbers["pha, mean of 255"] < 0.01
    assert numbers["bytes"] > 1000
    assert "graph ms" in numbers or "ms, host to host" in numbers
    assert json.loads((without_tensorrt / "files" / f"layers-{name}.json").read_text()) is not None


def test_mattes_that_are_wrong_are_a_failure(without_tensorrt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Plan):
        def __call__(self, inputs: Any) -> Any:
            return {name: each ^ 8 for name, each in super().__call__(inputs).items()}

    monkeypatch.setattr(device_plan, "DevicePlan", Wrong)
    comparison = tensorrt_models.Comparison("rvm", "plan", "fp32")
    comparison.on_cpu()
    with pytest.raises(AssertionError, match=r"alpha differs by [\d.]+ on average; expected at most 0\.1"):
        comparison.in_tensorrt()
