"""Every kind of model becomes an engine."""
# ruff: noqa: F811

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtmatte
from tests import exports, reference
from tests import real_models as models
from tests.compiler.building import (  # noqa: F401
    CPU,
    SMALL,
    check_plans,
    checkpoints,
    no_sessions_left,
    official,
    options_of,
    own_cache,
    program,
    rtx,
    sha256,
    small,
)
from trtmatte.api import load
from trtmatte.compiler.families import catalog

VECTORS = [
    "rvm_mobilenetv3-ratio0.5",
    "rvm_mobilenetv3-fast-guided",
    "rvm_resnet50-odd-ratio0.375",
    "bgmv2_base_mobilenetv2-odd",
    "bgmv2_refine_mobilenetv2-sampling-scale0.25",
    "bgmv2_refine_mobilenetv2-thresholding-scale0.5",
    "bgmv2_refine_mobilenetv2-kernel1-full",
    "modnet-256x320",
    "u2netp-160x160",
]


@pytest.mark.parametrize("name", [name for name in VECTORS if name in reference.vector_names()])
def test_a_checkpoint_becomes_an_engine_that_computes_the_vectors(name: str, checkpoints: Any, tmp_path: Path) -> None:
    vector = reference.load(name)
    of_weights = {name: vector.options[name] for name in ("refiner", "refine_kernel_size") if name in vector.options}
    path = checkpoints(vector.model, **of_weights)
    trtmatte.build(path, out=tmp_path / "e.trtm", **CPU, **options_of(vector))
    engine = load(tmp_path / "e.trtm")
    engine.verify()
    assert engine.manifest["source"] == {"file": path.name, "sha256": sha256(path)}
    output = "pha" if "pha" in vector.outputs else "matte" if "matte" in vector.outputs else "d0"
    session = engine.session(backend="onnxruntime", outputs="pha", dtype="float32", layout="CHW")
    frames, expected = vector.arrays["src"], vector.outputs[output]
    if "frames" not in vector.settings:
        frames, expected = frames[None], expected[None]
    backgrounds = itertools.repeat(vector.arrays["bgr"]) if "bgr" in vector.arrays else itertools.repeat(None)
    for frame, background, alpha in zip(frames, backgrounds, expected, strict=False):
        pictures = (frame,) if background is None else (frame, background)
        np.testing.assert_allclose(session(*pictures)["pha"], alpha, atol=vector.tolerance(output))


def test_the_official_file(official: Path, rtx: dict[str, Any]) -> None:
    started = time.monotonic()
    engine = trtmatte.build(official, size="1920x1080", downsample_ratio=0.25, **rtx)
    assert time.monotonic() - started < 30
    check_plans(engine, "tensorrt-rtx")
    assert engine.program.tensors["src_sm"].shape == (1, 3, 270, 480)
    assert engine.manifest["settings"]["downsample_ratio"] == 0.25
    assert engine.manifest["source"]["file"] == official.name


def test_a_known_name(official: Path, own_cache: Path) -> None:
    place = own_cache / "models" / official.name
    place.parent.mkdir(parents=True)
    place.symlink_to(official)
    engine = trtmatte.build("rvm-mobilenetv3", **CPU)
    assert engine.manifest["source"]["known_as"] == "rvm-mobilenetv3"
    assert engine.manifest["source"]["licence"] == "GPL-3.0"
    assert engine.manifest["source"]["sha256"] == catalog.find("rvm-mobilenetv3").sha256


@pytest.mark.parametrize(
    ("frame", "ratio"), [((1920, 1080), 0.25), ((3840, 2160), 0.125), ((1280, 720), 0.375)], ids=["HD", "4K", "720p"]
)
def test_one_engine_serves_frames_of_every_size(frame: tuple[int, int], ratio: float, official: Path) -> None:
    """Each as the official file does at the ratio that leads to the same small picture."""
    engine = trtmatte.build(official, size="1920x1080", downsample_ratio=0.25, **CPU)
    session = engine.session(backend="onnxruntime")
    whole = onnxruntime.InferenceSession(official, providers=["CPUExecutionProvider"])
    names = [each.name for each in whole.get_outputs()]
    states = {f"r{level}i": np.zeros((1, 1, 1, 1), np.float32) for level in range(1, 5)}
    for picture in itertools.islice(models.clip(*frame), 2):
        matte = session(picture)
        source = np.ascontiguousarray(picture.transpose(2, 0, 1))[None].astype(np.float32) / 255
        feed = {"src": source, "downsample_ratio": np.array([ratio], np.float32), **states}
        expected = dict(zip(names, whole.run(names, feed), strict=True))
        states = {f"r{level}i": expected[f"r{level}o"] for level in range(1, 5)}
        for name in ("fgr", "pha"):
            steps = np.abs(matte[name].astype(int) - np.round(expected[name][0].transpose(1, 2, 0) * 255).astype(int))
            assert (steps <= 1).mean() >= 0.999, f"{name} is off by {steps.max()}"
    assert np.ptp(matte["pha"]) > 200


def test_asking_the_cache_imports_neither_onnx_nor_torch(small: Path) -> None:
    trtmatte.build(small, **SMALL)
    text = (
        "import sys, trtmatte, json\n"
        f"trtmatte.build({str(small)!r}, **{SMALL!r})\n"
        "print(json.dumps([name for name in ('onnx', 'torch', 'onnxruntime', 'openvino') if name in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


def test_an_exported_model_of_each_kind_is_recognised(tmp_path: Path) -> None:
    network = reference.network("rvm_mobilenetv3")
    onnx.save(exports.rvm(network), tmp_path / "rvm.onnx")
    engine = trtmatte.build(tmp_path / "rvm.onnx", size=(128, 96), downsample_ratio=0.5, **CPU)
    assert engine.manifest["family"] == "rvm"
