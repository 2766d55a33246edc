"""The real files on real pictures, against ONNX Runtime running them as they are.

All 120 frames with TRTMATTE_FULL=1, otherwise the first few.
"""

from __future__ import annotations

import itertools
import os
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

import trtmatte
from tests import real_models as models
from tests.program_runner import StagedRunner
from trtmatte.backends import onnxruntime as ort
from trtmatte.backends import openvino
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph.cut import cut

FRAMES = 120 if os.environ.get("TRTMATTE_FULL", "0") not in ("", "0") else 8


def planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None]


@pytest.mark.parametrize(("size", "ratio"), [((0, 0), 1.0), ((1280, 720), 0.375)], ids=["own size", "720p"])
def test_rvm(size, ratio):
    path = models.model("rvm-mobilenetv3")
    official = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in official.get_outputs()]
    states = {f"r{level}i": np.zeros((1, 1, 1, 1), np.float32) for level in range(1, 5)}
    run = None
    for picture in itertools.islice(models.clip(*size), FRAMES):
        frame = planes(picture)
        if run is None:
            run = StagedRunner(importing.read(path, size=picture.shape[1::-1], downsample_ratio=ratio), dtype="uint8")
        outputs = run(frame=frame)
        feed = {"src": frame.astype(np.float32) / 255, "downsample_ratio": np.array([ratio], np.float32), **states}
        expected = dict(zip(names, official.run(names, feed), strict=True))
        for name in ("fgr", "pha"):
            steps = np.abs(outputs[name].astype(int) - np.round(expected[name] * 255).astype(int))
            assert (steps <= 1).mean() >= 0.999, f"{name} is off by {steps.max()}"
        states = {f"r{level}i": expected[f"r{level}o"] for level in range(1, 5)}
    for level in range(1, 5):
        assert np.abs(outputs[f"r{level}o"] - states[f"r{level}i"]).max() <= 1e-3


@pytest.mark.parametrize("backend", [ort, openvino], ids=["onnxruntime", "openvino"])
def test_u2netp(backend: ModuleType) -> None:
    path = models.model("u2netp")
    picture = planes(models.photograph()[96:416, 96:416]).astype(np.float32) / 255 * 4 - 2
    official = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = official.run(None, {official.get_inputs()[0].name: picture})[0]
    assert 0.1 < (expected > 0.5).mean() < 0.9, "the picture shows nobody"
    _, (network,) = cut(importing.read(path, size=(640, 480), divide_by_maximum=False, stretch=False))
    alpha = np.zeros_like(expected)
    backend.Network(network.SerializeToString(), 2, 0).bind({"image": picture}, {"alpha": alpha})()
    assert np.abs(alpha - expected).max() <= 1 / 255


def test_a_plan_of_u2netp(tmp_path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    path = models.model("u2netp")
    engine = trtmatte.build(path, out=tmp_path / "e.trtm", size=(640, 480), target="tensorrt-rtx")
    assert "tensorrt-rtx" in engine.plans
