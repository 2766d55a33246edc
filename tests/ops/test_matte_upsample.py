"""MatteUpsample against its body."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.specification import MEMORIES, SIZES, check_matte, maps, picture, resized_by_pillow
from trtmatte import SettingError, ops


def check(device, frame, small, kind=np.float32, **settings):
    batch = len(frame) if frame.ndim == 4 else 1
    check_matte(device, "MatteUpsample", frame, {"alpha": maps(1, small[0], small[1], batch, kind)}, **settings)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(device, size):
    """U-2-Net's alpha is always 320 by 320."""
    check(device, picture(*size), (320, 320), outputs=("pha", "composite"), dtype="float32", method="linear")


@pytest.mark.parametrize("size", SIZES[:-1], ids=str)
@pytest.mark.parametrize("small", [(1, 1), (48, 64), (200, 160)], ids=str)
def test_area(device, size, small):
    check(device, picture(*size), small, outputs=("pha", "rgba"), dtype="float32", method="area")


@pytest.mark.parametrize("small", [(1, 7), (37, 301), (74, 602), (100, 1000), (25, 200)], ids=str)
@pytest.mark.parametrize("method", ["linear", "area", "lanczos", "bicubic"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_maps_of_any_size(device, small, method, kind):
    check(device, picture(37, 301), small, kind, method=method, dtype="float32")


@pytest.mark.parametrize("size", SIZES[1:-1], ids=str)
@pytest.mark.parametrize("small", [(1, 1), (48, 64), (320, 320)], ids=str)
@pytest.mark.parametrize("method", ["lanczos", "bicubic"])
def test_two_passes(device, size, small, method):
    check(device, picture(size[0], size[1], batch=2), small, outputs=("pha", "rgba"), dtype="float32", method=method)


SIDE = st.integers(1, 90)


@pytest.mark.parametrize("method", ["lanczos", "bicubic"])
@settings(max_examples=60, deadline=None)
@given(small=st.tuples(SIDE, SIDE), size=st.tuples(SIDE, SIDE), seed=st.integers(0, 9))
def test_a_mask_is_resized_as_by_pillow(method, small, size, seed):
    """Pillow rounds between its passes: a step of 1/255 at most."""
    mask = np.where(
        np.random.default_rng(seed).random(small) < 0.3, 255, picture(small[0], small[1], seed=seed)[..., 0]
    )
    expected = resized_by_pillow(mask.astype(np.uint8), size, method)
    alpha = (mask / np.float32(255))[None, None]
    [pha] = ops.matte_upsample(picture(*size), alpha, outputs=("pha",), method=method)
    assert np.abs(pha[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("method", ["antialias", "gaussian", "cubic"])
def test_other_methods_are_refused(method):
    with pytest.raises(SettingError, match=f"method is '{method}'; expected 'linear', 'area'.* 'lanczos' or 'bicubic'"):
        ops.matte_upsample(picture(4, 4), maps(1, 2, 2), method=method)


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("CHW", "bgr")])
def test_types_and_layouts(device, frame, dtype, layout, color):
    frame = picture(19, 35, batch=2, dtype=frame)
    background = picture(4, 5, batch=2)
    check(device, frame, (9, 14), dtype=dtype, layout=layout, color=color, background=background, method="linear")


def with_colours(device, frame, small, cells, channels=1, kind=np.float32, **settings):
    batch = len(frame) if frame.ndim == 4 else 1
    colours = maps(6, cells[0], cells[1], batch, kind, seed=9).clip(0, 1)
    check_matte(
        device,
        "MatteUpsample",
        frame,
        {"alpha": maps(channels, small[0], small[1], batch, kind), "colours": colours},
        **settings,
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("outputs", [("fgr", "pha"), ("rgba",), ("composite",), ("pha",)], ids="+".join)
def test_clean_foreground(device, size, outputs):
    with_colours(device, picture(*size), (32, 48), (128, 128), outputs=outputs, method="linear")


@pytest.mark.parametrize("cells", [(2, 1), (1, 3), (8, 9), (128, 128)], ids=str)
@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_colours_of_any_size(device, cells, method, kind):
    with_colours(device, picture(37, 301), (12, 19), cells, kind=kind, method=method, dtype="float32")


@pytest.mark.parametrize("cells", [(1, 1), (16, 16)], ids=str)
@pytest.mark.parametrize("frame", [np.uint8, np.float32])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("CHW", "bgr")])
def test_alpha_as_a_function_of_colour(device, cells, frame, layout, color):
    frame = picture(53, 96, batch=2, dtype=frame)
    with_colours(
        device, frame, (8, 9), cells, channels=4, outputs=("fgr", "pha"), layout=layout, color=color, method="linear"
    )


def test_alpha_follows_a_colour_that_the_maps_cannot_show(device):
    """Slopes of one cell: alpha is the red of each pixel, less a half of the blue."""
    frame, maps_ = picture(40, 72, dtype=np.float32), np.float32([1, 0, -0.5, 0.1]).reshape(1, 4, 1, 1)
    pha = device.put(np.zeros((40, 72, 1), np.float32))
    ops.matte_upsample(
        device.put(frame), device.put(maps_), outputs=("pha",), out={"pha": pha}, cuda_stream=device.stream
    )
    expected = (frame[..., :1] - 0.5 * frame[..., 2:] + 0.1).clip(0, 1)
    np.testing.assert_allclose(device.get(pha), expected, atol=1e-6)


def test_the_foreground_is_the_frame_where_it_is_opaque_and_the_estimate_where_there_is_none(device):
    """Exactly, in float32: no pixel of the subject may change."""
    frame, colours = picture(48, 64, dtype=np.float32), maps(6, 16, 16).clip(0, 1)
    for value, expected in ((1.0, frame), (0.0, None)):
        fgr = device.put(np.zeros((48, 64, 3), np.float32))
        alpha = np.full((1, 1, 3, 4), value, np.float32)
        arrays = map(device.put, (frame, alpha, colours))
        ops.matte_upsample(*arrays, outputs=("fgr",), out={"fgr": fgr}, cuda_stream=device.stream)
        if expected is None:
            other = device.put(np.zeros((48, 64, 3), np.float32))
            arrays = map(device.put, (1 - frame, alpha, colours))
            ops.matte_upsample(*arrays, outputs=("fgr",), out={"fgr": other}, cuda_stream=device.stream)
            expected = device.get(other)
        np.testing.assert_array_equal(device.get(fgr), expected)


def test_two_colours_that_mix_come_apart(device):
    """The foreground keeps its colour at every alpha, whatever the background was."""
    front, back = np.float32([0.1, 0.7, 0.3]), np.float32([0.9, 0.9, 1.0])
    alpha = np.random.default_rng(1).random((1, 1, 64, 96), np.float32)
    share = alpha[0, 0, :, :, None]
    colours = np.broadcast_to(np.concatenate([front, back])[None, :, None, None], (1, 6, 2, 2)).astype(np.float32)
    fgr = device.put(np.zeros((64, 96, 3), np.float32))
    arrays = map(device.put, (share * front + (1 - share) * back, alpha, colours))
    ops.matte_upsample(*arrays, outputs=("fgr",), out={"fgr": fgr}, cuda_stream=device.stream)
    np.testing.assert_allclose(device.get(fgr), np.broadcast_to(front, (64, 96, 3)), atol=1e-5)


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory(device, memory):
    check(device, picture(21, 301), (9, 14), method="area", memory=MEMORIES[memory])
