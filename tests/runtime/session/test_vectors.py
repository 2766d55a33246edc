"""The reference vectors and the real file through a session."""

from __future__ import annotations

import itertools
import os

import numpy as np
import onnxruntime
import pytest

from tests import real_models as models
from tests import reference
from tests.runtime.session import engines

STATES = ("r1", "r2", "r3", "r4")
FRAMES = 120 if os.environ.get("TRTMATTE_FULL", "0") not in ("", "0") else 8
NAMES = {"matte": "pha", "d0": "pha"}  # MODNet's and U-2-Net's alpha; the rest of what they make is not asked for
LEFT_OUT = {"semantic", "detail", *(f"d{level}" for level in range(1, 7)), *STATES}


def outputs_of(vector):
    """Of the session by those of the vector."""
    return {name: NAMES.get(name, "hid" if name == "hid_s" else name) for name in vector.outputs.keys() - LEFT_OUT}


def assert_as(vector, name, actual, expected):
    if name == "hid_s":
        actual = actual[:, :, 1::4, 2::4]
    assert reference.largest_difference(actual, expected) <= vector.tolerance(name), name


@pytest.mark.parametrize("backend", engines.BACKENDS)
@pytest.mark.parametrize("name", [name for name in reference.vector_names("rvm") if "always" not in name])
def test_rvm(name, backend):
    vector, engine = reference.load(name), engines.of_vector(name)
    outputs = outputs_of(vector)
    options = {"outputs": tuple(outputs.values()), "dtype": "float32", "layout": "CHW"}
    with engine.session(backend=engines.require(backend), **options) as session:
        chunk = vector.settings.get("chunk")
        for time, src in enumerate([vector.arrays["src"]] if chunk else vector.arrays["src"]):
            matte = session(src)
            for own, asked in outputs.items():
                assert_as(vector, own, matte[asked], vector.arrays[own] if chunk else vector.arrays[own][time])
        for state in vector.outputs.keys() & set(STATES):
            assert_as(vector, state, session.state[state], vector.arrays[state][... if chunk else -1])


@pytest.mark.parametrize("backend", engines.BACKENDS)
@pytest.mark.parametrize("name", reference.vector_names("bgmv2", "matte", "modnet", "u2net"))
def test_families_of_single_frames(name, backend):
    if "oversampling-allowed" in name:
        pytest.skip("which of the patches without an error are refined is not defined")
    vector, engine = reference.load(name), engines.of_vector(name)
    outputs = outputs_of(vector)
    options = {"outputs": tuple(outputs.values()), "dtype": "float32", "layout": "CHW"}
    with engine.session(backend=engines.require(backend), **options) as session:
        for _ in range(2):  # what one frame leaves behind changes nothing for the next
            matte = session(*(vector.arrays[picture] for picture in ("src", "bgr") if picture in vector.arrays))
            for own, asked in outputs.items():
                assert_as(vector, own, matte[asked], vector.arrays[own])


@pytest.mark.parametrize("backend", engines.BACKENDS)
@pytest.mark.parametrize(("size", "ratio"), [((176, 144), 1.0), ((1280, 720), 0.375)], ids=["own size", "720p"])
def test_the_real_file(size, ratio, backend):
    """Against ONNX Runtime running the file as it is; the composite against numpy's."""
    engines.require(backend)
    official = onnxruntime.InferenceSession(models.model("rvm-mobilenetv3"), providers=["CPUExecutionProvider"])
    names = [each.name for each in official.get_outputs()]
    states = {f"{name}i": np.zeros((1, 1, 1, 1), np.float32) for name in STATES}
    green = np.array([120, 255, 155], np.float32)
    session = engines.rvm(*size, ratio).session(
        backend=backend, outputs=("fgr", "pha", "composite"), background=(120, 255, 155)
    )
    for picture in itertools.islice(models.clip(*size), FRAMES):
        src = np.ascontiguousarray(picture.transpose(2, 0, 1))[None].astype(np.float32) / 255
        feed = {"src": src, "downsample_ratio": np.array([ratio], np.float32), **states}
        expected = dict(zip(names, official.run(names, feed), strict=True))
        states = {f"{name}i": expected[f"{name}o"] for name in STATES}
        fgr, pha = (expected[name][0].transpose(1, 2, 0) * 255 for name in ("fgr", "pha"))
        matte = session(picture)
        composite = fgr * (pha / 255) + green * (1 - pha / 255)
        for name, value in (("fgr", fgr), ("pha", pha), ("composite", composite)):
            steps = np.abs(matte[name].astype(int) - np.rint(value).astype(int))
            assert steps.max() <= 1, f"{name} is off by {steps.max()}"
