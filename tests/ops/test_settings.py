"""Settings of the ops that are refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.ops.arguments import FRAME, REFERENCE, guided, same
from tests.ops.specification import maps
from trtmatte import FrameError, SettingError, _core, ops


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "NHWC"}, "layout is 'NHWC'"),
        ({"frame_layout": "hwc"}, "layout is 'hwc'"),
        ({"color": "RGB"}, "color is 'RGB'"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"outputs": ("fgr", "alpha")}, "output is 'alpha'"),
        ({"outputs": "fgr"}, "output is 'f'"),
        ({"out": {"matte": REFERENCE["pha"]}}, "output is 'matte'"),
        ({"outputs": ("fgr",), "out": {"pha": REFERENCE["pha"]}}, "out has pha"),
        ({"cuda_stream": "0"}, "cuda_stream is a str"),
        ({"outputs": ("composite",), "background": (0, 0)}, "background has 2 values"),
    ],
    ids=str,
)
def test_unknown_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        guided(**settings)


def test_the_old_name_of_cuda_stream_works_with_a_notice():
    with pytest.warns(FutureWarning, match="stream is now called cuda_stream; the old name works in this release only"):
        same(guided(stream=0))
    with pytest.warns(FutureWarning), pytest.raises(SettingError, match="cuda_stream is a str"):
        guided(stream="0")


def test_no_output():
    with pytest.raises(FrameError, match="no output"):
        guided(outputs=())


def test_layouts_that_do_not_fit():
    with pytest.raises(FrameError, match=r"frame is .*\(C, H, W\)"):
        guided(FRAME, frame_layout="CHW")
    with pytest.raises(FrameError, match=r"fgr is .*\(C, H, W\)"):
        guided(outputs=("fgr",), out={"fgr": np.zeros_like(FRAME)}, layout="CHW")


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (None, "composite needs a background"),
        (np.zeros((12, 16), np.uint8), "background is"),
        (np.zeros((2, 1, 1, 3), np.uint8), "background is .* one picture"),
        (np.zeros((1, 1, 3), np.float64), "background holds"),
    ],
)
def test_backgrounds_that_do_not_fit(background, message):
    with pytest.raises(FrameError, match=message):
        guided(outputs=("composite",), background=background)


def test_a_background_may_not_be_an_output():
    picture = np.zeros_like(FRAME)
    with pytest.raises(FrameError, match="background overlaps composite"):
        guided(outputs=("composite",), background=picture, out={"composite": picture})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "cubic"}, "method is 'cubic'"),
        ({"method": "gaussian", "sigma": 0.2}, "sigma is 0.2"),
        ({"method": "gaussian", "sigma": float("nan")}, "sigma is"),
        ({"method": "gaussian", "sigma": float("inf")}, "sigma is inf"),
        ({"method": "gaussian", "sigma": 1e9}, "sigma is"),
        ({"std": (1, 0, 1)}, "std is 0"),
        ({"std": (1, float("nan"), 1)}, "std is"),
        ({"std": (1, 1)}, "std has 2 values"),
        ({"mean": (1, 1, 1, 1)}, "mean has 4 values"),
        ({"dtype": "uint8"}, "dtype is 'uint8'"),
        ({"step_y": Fraction(-4, 3)}, "step_y is -4/3"),
        ({"step_x": Fraction(0)}, "step_x is 0"),
        ({"step_y": Fraction(1 << 31)}, "step_y is"),
        ({"step_y": Fraction(7)}, "step_y is 7/1; .* 3 samples fit into 12 pixels"),
        ({"step_x": Fraction(1 << 30)}, "step_x is"),
        ({"color": "grey"}, "color is 'grey'"),
        ({"frame_layout": "WHC"}, "layout is 'WHC'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["linear", "area"])
def test_frame_sample_settings(settings, message, method):
    with pytest.raises(SettingError, match=message):
        ops.frame_sample(FRAME, 3, 4, **{"method": method, **settings})


@pytest.mark.parametrize(("height", "width", "name"), [(0, 4, "height"), (3, 0, "width"), (-1, 4, "height")])
def test_sizes_of_nothing(height, width, name):
    with pytest.raises(SettingError, match=f"{name} is"):
        ops.frame_sample(FRAME, height, width)
    with pytest.raises(SettingError, match=f"{name} is"):
        ops.patch_select(np.zeros((1, 1, 3, 4), np.float32), height, width)


@pytest.mark.parametrize("method", ["linear", "area", "antialias", "gaussian"])
def test_the_widest_filters(method):
    """One pixel of everything, and a sigma far beyond the frame."""
    constant = np.full((300, 400, 3), 51, np.uint8)
    sample = ops.frame_sample(constant, 1, 1, method=method, sigma=65536.0)
    np.testing.assert_allclose(sample, 0.2, atol=2e-6)
    large = ops.frame_sample(constant[:2, :3], 200, 100, method=method, sigma=65536.0)
    np.testing.assert_allclose(large, 0.2, atol=2e-6)


def test_frame_sample_outputs():
    for shape in ((1, 4, 3, 4), (2, 3, 3, 4), (3, 4)):
        with pytest.raises(FrameError, match="sample is"):
            ops.frame_sample(FRAME, 3, 4, out=np.zeros(shape, np.float32))
    with pytest.raises(FrameError, match="sample is uint8"):
        ops.frame_sample(FRAME, 3, 4, out=np.zeros((1, 3, 3, 4), np.uint8))
    one = np.zeros((3, 3, 4), np.float32)
    np.testing.assert_array_equal(ops.frame_sample(FRAME, 3, 4, out=one), ops.frame_sample(FRAME, 3, 4)[0])


def test_matte_upsample_arguments():
    with pytest.raises(SettingError, match="method is 'gaussian'"):
        ops.matte_upsample(FRAME, maps(1, 3, 4), method="gaussian")
    with pytest.raises(FrameError, match=r"alpha is .* expected 1 channel, or 4"):
        ops.matte_upsample(FRAME, maps(3, 3, 4))
    with pytest.raises(FrameError, match="alpha has a batch of 2"):
        ops.matte_upsample(FRAME, maps(1, 3, 4, batch=2))
    with pytest.raises(SettingError, match="method is 'area'; alpha has 4 channels"):
        ops.matte_upsample(FRAME, maps(4, 3, 4), method="area")
    with pytest.raises(FrameError, match=r"colours is .* expected 6 channels"):
        ops.matte_upsample(FRAME, maps(1, 3, 4), maps(3, 8, 8))
    with pytest.raises(FrameError, match="colours has a batch of 2"):
        ops.matte_upsample(FRAME, maps(1, 3, 4), maps(6, 8, 8, batch=2))


def test_foreground_estimate_arguments():
    with pytest.raises(FrameError, match=r"alpha is .* expected 1 channel, or 4"):
        ops.foreground_estimate(FRAME, maps(2, 3, 4))
    with pytest.raises(FrameError, match="alpha has a batch of 2"):
        ops.foreground_estimate(FRAME, maps(1, 3, 4, batch=2))
    with pytest.raises(FrameError, match=r"colours is .*; expected \(1, 6, 128, 128\)"):
        ops.foreground_estimate(FRAME, maps(1, 3, 4), out=np.zeros((1, 6, 64, 64), np.float32))
    with pytest.raises(SettingError, match="dtype is 'uint8'"):
        ops.foreground_estimate(FRAME, maps(1, 3, 4), dtype="uint8")
    with pytest.raises(SettingError, match="color is 'grey'"):
        ops.foreground_estimate(FRAME, maps(1, 3, 4), color="grey")


def select(**settings):
    return ops.patch_select(np.ones((1, 1, 3, 4), np.float32), 3, 4, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "full"}, "mode is 'full'"),
        ({"k": 0}, "k is 0"),
        ({"k": 13}, "k is 13; expected 1 to 12"),
        ({"capacity": 0}, "capacity is 0"),
        ({"mode": "thresholding", "threshold": float("nan")}, "threshold is not a number"),
    ],
)
def test_patch_select_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        select(**settings)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("indices", np.zeros((4, 2), np.int32)),
        ("indices", np.zeros((4, 3), np.float32)),
        ("indices", np.zeros((3, 4), np.int32).T),
        ("indices", np.zeros((8, 3), np.int32)[::2]),
        ("indices", np.zeros(12, np.int32)),
        ("count", np.zeros(2, np.int32)),
        ("count", np.zeros(1, np.uint8)),
        ("ref", np.zeros((1, 1, 4, 3), np.float32)),
        ("ref", np.zeros((1, 1, 3, 8), np.float32)[..., ::2]),
        ("ref", np.zeros((1, 1, 3, 4), np.float16)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.shape),
)
def test_patch_select_outputs(name, array):
    given = {
        "indices": np.full((4, 3), 77, np.int32),
        "count": np.full(1, 77, np.int32),
        "ref": np.full((1, 1, 3, 4), 77, np.float32),
    }
    with pytest.raises(FrameError, match=name):
        select(k=4, **{**given, name: array})
    assert all((value == 77).all() for value in given.values())


def test_patch_grids_have_a_limit():
    with pytest.raises(SettingError, match="patch grid is 16385x1"):
        _core.patch_select(
            np.ones((1, 1, 3, 4), np.float32), np.zeros((1, 3), np.int32), np.zeros(1, np.int32), rows=16385, columns=1
        )


CROP = {"maps": maps(5, 3, 4), "src": FRAME, "bgr": FRAME, "indices": np.zeros((2, 3), np.int32)}
SCATTER = {
    "coarse": maps(4, 3, 4),
    "patches": maps(4, 4, 4, 2),
    "indices": np.zeros((2, 3), np.int32),
    "frame": FRAME,
}


@pytest.mark.parametrize(
    ("op", "changes", "message"),
    [
        (ops.patch_crop, {"src": FRAME[:-1]}, "src is 16x11 pixels; expected .*multiples of 4"),
        (ops.patch_crop, {"bgr": FRAME[:8]}, "bgr is .* expected the size of src"),
        (ops.patch_crop, {"maps": maps(5, 3, 4, batch=2)}, "maps has a batch of 2"),
        (ops.patch_crop, {"indices": np.zeros((2, 3), np.int64)}, "indices"),
        (ops.patch_crop, {"indices": np.zeros((2, 2), np.int32)}, "indices is"),
        (ops.patch_crop, {"indices": np.zeros((0, 3), np.int32)}, "at least one"),
        (ops.patch_crop, {"half": np.zeros((2, 10, 8, 8), np.float32)}, "half is"),
        (ops.patch_crop, {"full": np.zeros((2, 6, 4, 4), np.float32)}, "full is"),
        (ops.patch_crop, {"full": np.zeros((2, 6, 8, 8), np.uint8)}, "full is uint8"),
        (ops.patch_scatter, {"frame": FRAME[:, :-2]}, "frame is 14x12 pixels"),
        (ops.patch_scatter, {"coarse": maps(3, 3, 4)}, "coarse is .* 4 channels"),
        (ops.patch_scatter, {"patches": maps(4, 4, 5, 2)}, "patches is .*4x4"),
        (ops.patch_scatter, {"patches": maps(4, 4, 4, 3)}, "patches has a batch of 3; expected 2"),
        (ops.patch_scatter, {"indices": np.zeros((2, 3), np.float32)}, "indices is float32"),
        (ops.patch_scatter, {"indices": np.zeros((0, 3), np.int32)}, "patches has a batch of 2; expected 0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_patches_that_do_not_fit(op, changes, message):
    with pytest.raises(FrameError, match=message):
        op(**{**(CROP if op is ops.patch_crop else SCATTER), **changes})


def test_patch_crop_settings():
    with pytest.raises(SettingError, match="kernel is 2"):
        ops.patch_crop(**CROP, kernel=2)
    with pytest.raises(SettingError, match="dtype is 'uint8'"):
        ops.patch_crop(**CROP, dtype="uint8")
