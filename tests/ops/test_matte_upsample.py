"""MatteUpsample against its body."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.specification import MEMORIES, SIZES, check_matte, maps, picture


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
@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_maps_of_any_size(device, small, method, kind):
    check(device, picture(37, 301), small, kind, method=method, dtype="float32")


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
