"""The loops that the documents of RVM and BackgroundMattingV2 show, one to one with a session in the model's place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.runtime.session import engines

RVM = "rvm_mobilenetv3-odd-ratio0.375"
BGMV2 = "bgmv2_refine_mobilenetv2-kernel1-sampling"
GREEN = np.array([120, 255, 155], np.float32) / 255


@pytest.fixture
def rvm():
    return engines.of_vector(RVM)


@pytest.fixture(scope="module")
def frames():
    """uint8 HWC, as a reader of films gives them."""
    return [np.ascontiguousarray(src[0].transpose(1, 2, 0)) for src in reference.load(RVM).arrays["src"]]


@pytest.fixture(scope="module")
def expected():
    """What the original makes of them: float32 HWC."""
    arrays = reference.load(RVM).arrays
    return [
        (fgr[0].transpose(1, 2, 0), pha[0].transpose(1, 2, 0))
        for fgr, pha in zip(arrays["fgr"], arrays["pha"], strict=True)
    ]


def composite_of(fgr, pha):
    return fgr * pha + GREEN * (1 - pha)


def assert_within_a_step(actual, expected):
    assert np.abs(np.asarray(actual).astype(float) - np.asarray(expected) * 255).max() <= 1


def test_pytorch_loop(rvm, frames, expected):
    """`fgr, pha, *rec = model(src, *rec, downsample_ratio)` becomes `fgr, pha = session(src)`."""
    torch = pytest.importorskip("torch")
    bgr = torch.tensor(GREEN).view(3, 1, 1)
    session = rvm.session(layout="CHW", dtype="float32")

    with torch.no_grad():
        for frame, matte in zip(frames, expected, strict=True):
            src = torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0).float() / 255  # [B, C, H, W]
            fgr, pha = session(src)
            com = fgr * pha + bgr * (1 - pha)
            assert_within_a_step(com[0].permute(1, 2, 0) * 255, composite_of(*matte))


def test_pytorch_loop_over_chunks(rvm, frames, expected):
    torch = pytest.importorskip("torch")
    session = rvm.session(layout="CHW", dtype="float32")
    src = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).unsqueeze(0).float() / 255  # [B, T, C, H, W]
    fgr, pha = session(src)
    for time, matte in enumerate(expected):
        found = (each[0, time].permute(1, 2, 0).numpy() for each in (fgr, pha))
        assert_within_a_step(composite_of(*found) * 255, composite_of(*matte))


def test_onnxruntime_loop(rvm, frames, expected):
    """`fgr, pha, *rec = sess.run([], {"src": …, "r1i": …, …})` becomes `fgr, pha = session(src)`."""
    session = rvm.session(layout="CHW", dtype="float32")

    for frame, matte in zip(frames, expected, strict=True):
        src = frame.astype(np.float32).transpose(2, 0, 1)[np.newaxis] / 255
        fgr, pha = session(src)
        for name, actual, value in (("fgr", fgr, matte[0]), ("pha", pha, matte[1])):
            difference = reference.largest_difference(actual[0].transpose(1, 2, 0), value)
            assert difference <= reference.tolerance("rvm", name)


def test_images_with_an_implicit_first_state(rvm, frames, expected):
    """As with CoreML: images in, images out, and nothing is said of the states before the first frame."""
    session = rvm.session()

    for frame, matte in zip(frames, expected, strict=True):
        fgr, pha = session(Image.fromarray(frame)).pil()
        assert (fgr.mode, pha.mode) == ("RGB", "L")
        com = Image.composite(fgr, Image.new("RGB", fgr.size, (120, 255, 155)), pha)
        assert np.abs(np.asarray(com) - composite_of(*matte) * 255).max() <= 2  # PIL rounds once more


def test_channels_last_loop(rvm, frames, expected):
    """As with TensorFlow: `[B, H, W, C]` in and out."""
    session = rvm.session(dtype="float32")

    for frame, matte in zip(frames, expected, strict=True):
        src = frame[np.newaxis].astype(np.float32) / 255
        fgr, pha = session(src)
        assert fgr.shape == src.shape
        assert_within_a_step(composite_of(fgr[0], pha[0]) * 255, composite_of(*matte))


def test_all_of_it_in_the_session(rvm, frames, expected):
    """uint8 in, the composite out: what the loops above come down to."""
    session = rvm.session(outputs=("composite",), background=(120, 255, 155))
    for matte, (composite,) in zip(expected, session.stream(frames), strict=True):
        assert_within_a_step(composite, composite_of(*matte))


def test_background_matting_loop():
    """`pha, fgr = model(src, bgr)[:2]`"""
    vector = reference.load(BGMV2)
    session = engines.of_vector(BGMV2).session(outputs=("pha", "fgr"), layout="CHW", dtype="float32")
    src, bgr = (vector.picture(name) for name in ("src", "bgr"))
    pha, fgr = session(src, bgr)
    reference.assert_close(vector, {"pha": pha, "fgr": fgr})
