"""Models with deformable convolutions, from the file to the matte: on every backend of the CPU, and as plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtmatte
from tests.compiler.building import no_sessions_left, official, own_cache, rtx  # noqa: F401
from tests.compiler.graph.deforming import Case, matting
from trtmatte.backends import onnxruntime as cpu_backend
from trtmatte.format.file import CPU_PLAN, DEFORM_CONV
from trtmatte.runtime.choice import choose
from trtmatte.runtime.networks import load_networks

CASE = Case(size=(48, 64), channels=3, outputs=1, kernel=(7, 7), pads=(3, 3))
BUILD: dict[str, Any] = {"family": "generic", "size": (64, 48), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
FORMS = ("node", "pixels", "rows")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def frame() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def file_of(folder: Path, form: str, case: Case = CASE) -> Path:
    path = folder / f"{form}.onnx"
    onnx.save(matting(case, form=form), path)
    return path


def expected(frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The decomposed file as it is, whose operators every ONNX Runtime has."""
    session = onnxruntime.InferenceSession(
        matting(CASE, form="pixels").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    alpha: np.ndarray[Any, Any] = session.run(None, {"x": frame.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0]
    return alpha[0, 0]


def kinds(network: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(network).graph.node}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_mattes_are_those_of_the_file(form: str, backend: str, frame: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = file_of(tmp_path, form)
    engine = trtmatte.build(path, target="onnxruntime", **BUILD)
    with trtmatte.Session(engine, backend=backend, device="cpu", outputs=("pha",)) as session:
        pha = session(frame)["pha"][..., 0]
    difference = np.abs(pha.astype(np.float64) / 255 - expected(frame))
    assert np.ptp(pha) > 100
    assert difference.max() <= 1.01 / 255


def test_networks_have_it_for_runtimes_without_it_and_plans_for_cpus_with_it(form: str, tmp_path: Path) -> None:
    engine = trtmatte.build(file_of(tmp_path, form), target="onnxruntime", **BUILD)
    network = kinds(engine.network("network-0"))
    assert "GridSample" in network
    assert not network & {"DeformConv", "GatherND", "GatherElements"}
    tuned = engine.plan(*CPU_PLAN, "network-0")
    assert tuned is not None
    assert "DeformConv" in kinds(tuned)
    assert engine.plans[CPU_PLAN[0]][CPU_PLAN[1]][DEFORM_CONV] == 4 * 3 * 49 * 48 * 64


@pytest.mark.parametrize("version", ["1.24.4", "1.25.0"])
def test_an_onnxruntime_without_it_gets_grid_samples(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = trtmatte.build(file_of(tmp_path, "pixels"), target="onnxruntime", **BUILD)
    given: list[bytes] = []
    monkeypatch.setattr(cpu_backend, "version_of", lambda package: version)
    monkeypatch.setattr(cpu_backend.Network, "__init__", lambda self, model, *rest: given.append(model))
    load_networks(engine, choose("onnxruntime", "cpu", engine), 0)
    assert ("DeformConv" in kinds(given[0])) == (version == "1.25.0")


def test_an_onnxruntime_that_would_hold_too_much_gets_grid_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_backend, "version_of", lambda package: "1.31.1")
    assert cpu_backend.BACKEND.runs_deform_conv(1 << 30)
    assert not cpu_backend.BACKEND.runs_deform_conv((1 << 30) + 1)


def test_plans_of_tensorrt_are_built(form: str, rtx: dict[str, Any], tmp_path: Path) -> None:  # noqa: F811
    for precision in ("fp16", "fp32"):
        engine = trtmatte.build(file_of(tmp_path, form), precision=precision, **rtx, **BUILD)
        assert engine.plans["tensorrt-rtx"]


def test_positions_stay_in_float32(tmp_path: Path, frame: np.ndarray[Any, Any]) -> None:
    """In float16 the samples would lie up to an eighth of a pixel beside their places."""
    from trtmatte.compiler.graph.precision import these, to_fp16

    path = file_of(tmp_path, "pixels")
    engine = trtmatte.build(path, target="onnxruntime", **BUILD)
    network = onnx.load_from_string(engine.network("network-0"))
    kept = engine.keep_fp32["network-0"]
    (sample,) = (node for node in network.graph.node if node.op_type == "GridSample")
    assert sample.output[0] in kept
    assert sample.input[1] in kept
    picture = frame.transpose(2, 0, 1)[None].astype(np.float32) / 255
    errors = []
    for names in (kept, []):
        narrow = to_fp16(network, these(names))
        session = onnxruntime.InferenceSession(narrow.SerializeToString(), providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        (alpha,) = session.run(None, {given.name: picture.astype(np.float16)})
        errors.append(np.abs(alpha[0, 0] - expected(frame)).mean())
    assert errors[0] < 2e-3
    assert errors[0] < errors[1] / 2
