"""Sessions of models that predict alpha alone: estimated colours, or the frame's own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.specification import picture
from tests.runtime.session import engines
from trtmatte import SettingError, ops
from trtmatte.format.program import Program

FRAME = picture(engines.HEIGHT, engines.WIDTH)
COLOURED = [("fgr",), ("rgba",), ("composite", "pha")]


@pytest.fixture
def estimates(monkeypatch):
    """The calls of ForegroundEstimate."""
    calls = []
    estimate = ops.foreground_estimate

    def counted(*arrays, **settings):
        calls.append(arrays)
        return estimate(*arrays, **settings)

    monkeypatch.setattr(ops, "foreground_estimate", counted)
    return calls


def open_session(outputs, **options):
    options |= {"background": (0, 0, 0)} if "composite" in outputs else {}
    return engines.memory(estimates=True).session(backend="onnxruntime", outputs=outputs, **options)


@pytest.mark.parametrize("outputs", COLOURED, ids="+".join)
def test_colours_are_estimated_where_they_show(outputs, estimates):
    open_session(outputs)(FRAME)
    assert len(estimates) == 1


def test_the_foreground_is_what_the_ops_make():
    fgr, alpha = open_session(("fgr", "alpha"))(FRAME)
    colours = ops.foreground_estimate(FRAME, alpha)
    np.testing.assert_array_equal(fgr, ops.matte_upsample(FRAME, alpha, colours, outputs=("fgr",))[0])
    assert np.abs(fgr.astype(int) - FRAME).mean() > 1


@pytest.mark.parametrize("outputs", COLOURED, ids="+".join)
def test_raw_foregrounds_are_the_frame(outputs, estimates):
    raw, clean = open_session(outputs, raw_foreground=True)(FRAME), open_session(outputs)(FRAME)
    assert len(estimates) == 1
    assert not np.array_equal(raw[outputs[0]], clean[outputs[0]])
    if "composite" in outputs:
        expected = FRAME * (raw["pha"] / np.float32(255))
        np.testing.assert_allclose(raw["composite"], expected, atol=1)
    else:
        np.testing.assert_array_equal(raw[outputs[0]][..., :3], FRAME)


@pytest.mark.parametrize("outputs", [("pha",), ("alpha",), ("pha", "ones")], ids="+".join)
def test_nothing_is_estimated_for_alpha_alone(outputs, estimates):
    open_session(outputs)(FRAME)
    assert not estimates


def test_pictures_of_their_own_sizes_have_their_own_colours():
    session = engines.memory(batch=2, estimates=True).session(backend="onnxruntime", outputs=("fgr", "alpha"))
    frames = [picture(24, 32, seed=1), picture(40, 50, seed=2)]
    for frame, (fgr, alpha) in zip(frames, session.each(frames), strict=True):
        colours = ops.foreground_estimate(frame, alpha)
        np.testing.assert_array_equal(fgr, ops.matte_upsample(frame, alpha, colours, outputs=("fgr",))[0])


def test_engines_without_the_estimate_show_the_frame(estimates):
    """Those of earlier versions."""
    for options in ({}, {"raw_foreground": True}):
        session = engines.memory().session(backend="onnxruntime", outputs=("fgr",), **options)
        np.testing.assert_array_equal(session(FRAME)["fgr"], FRAME)
    assert not estimates


def test_programs_with_the_estimate_are_read_back():
    program = engines.memory(estimates=True).program
    assert Program.from_json(program.to_json()) == program
    assert program.for_frame(1920, 1080).op("ForegroundEstimate") == program.op("ForegroundEstimate")


def test_models_that_predict_colours_refuse_raw_ones():
    engine = engines.of_vector("rvm_mobilenetv3-odd-ratio0.375")
    with pytest.raises(SettingError, match="raw_foreground is True, but rvm predicts the foreground's colours"):
        engine.session(backend="onnxruntime", raw_foreground=True)
