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


@pytest.mark.parametrize("size", SIZES[:-1], ids=str)
@pytest.mark.parametrize("small", [(1, 1), (48, 64), (320, 320)], ids=str)
@pytest.mark.parametrize("method", ["lanczos", "bicubic"])
def test_two_passes(device, size, small, method):
    check(device, picture(*size, batch=2), small, outputs=("pha", "rgba"), dtype="float32", method=method)


SIDE = st.integers(1, 90)


@pytest.mark.parametrize("method", ["lanczos", "bicubic"])
@settings(max_examples=60, deadline=None)
@given(small=st.tuples(SIDE, SIDE), size=st.tuples(SIDE, SIDE), seed=st.integers(0, 9))
def test_a_mask_is_resized_as_by_pillow(method, small, size, seed):
    """Pillow rounds between its passes: a step of 1/255 at most."""
    mask = np.where(np.random.default_rng(seed).random(small) < 0.3, 255, picture(*small, seed=seed)[..., 0])
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


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory(device, memory):
    check(device, picture(21, 301), (9, 14), method="area", memory=MEMORIES[memory])
