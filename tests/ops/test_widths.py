"""Sizes at which the CUDA forms choose other ways: blocks of sixteen pixels, half blocks, tails and several grids.

The rows of a packed picture can be read in blocks if they begin at multiples of eight bytes: at widths that are
multiples of eight, and at any width if there is room between the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.specification import MEMORIES, SINKS, batched, check_matte, maps, picture
from tests.ops.test_frame_sample import check as check_sample
from tests.ops.test_patch_scatter import refined

OPS = ("GuidedUpsample", "MatteUpsample", "PatchScatter")
SETS = [("fgr", "pha"), ("pha",), ("rgba",), ("composite",), ("pha", "composite"), SINKS]
# Whole blocks, half a block alone and at the end, a tail, and neither. PatchScatter takes multiples of four.
WIDTHS = [(1080, 1080), (1081, 1084), (8, 8), (9, 12), (24, 24), (32, 32), (7, 4)]


def check(device: Any, op: str, frame: np.ndarray, small: tuple[int, int] = (3, 7), **settings: Any) -> None:
    batch = len(batched(frame))
    if op == "PatchScatter":
        inputs = refined(frame, 40 * batch, small)
    elif op == "MatteUpsample":
        inputs, settings["method"] = {"alpha": maps(1, *small, batch)}, settings.get("method", "linear")
    else:
        inputs = {name: maps(4, *small, batch, seed=seed) for seed, name in enumerate(("A", "b"))}
    check_matte(device, op, frame, inputs, **settings)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("outputs", SETS, ids="+".join)
def test_widths(device, op, widths, outputs):
    width = widths[op == "PatchScatter"]
    check(device, op, picture(12, width, batch=2), (3, min(width, 135)), outputs=outputs)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("width", [11, 27, 43, 59])
def test_tails_beside_blocks(device, op, color, width):
    """Sixteen divides the rows in memory, not the pictures: blocks up to a multiple of eight, then single pixels."""
    if op == "PatchScatter":
        width += 1
    check(device, op, picture(8, width), color=color, memory=MEMORIES["five pixels between rows"])


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("width", [24, 40, 32])
@pytest.mark.parametrize("background", ["colour", "of the frame's size", "smaller"])
@pytest.mark.parametrize("outputs", [("composite",), ("pha", "composite")], ids="+".join)
def test_backgrounds(device, op, color, width, background, outputs):
    pictures = {
        "colour": np.array([[[30, 60, 250]]], np.uint8),
        "of the frame's size": picture(8, width, seed=5),
        "smaller": picture(3, 5, dtype=np.float32, seed=5),
    }
    check(device, op, picture(8, width), color=color, outputs=outputs, background=pictures[background])


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("small", [(1, 1), (8, 40), (5, 39), (2, 2)], ids=str)
@pytest.mark.parametrize("outputs", [("pha",), ("fgr", "pha")], ids="+".join)
def test_maps_under_blocks(device, op, small, outputs):
    """From one pixel to one for each pixel of the frame."""
    check(device, op, picture(8, 40), small, outputs=outputs)


@pytest.mark.parametrize("small", [(1, 1), (5, 7), (12, 64), (3, 48), (11, 95), (13, 96), (12, 97)], ids=str)
@pytest.mark.parametrize("width", [96, 101])
@pytest.mark.parametrize("outputs", [("pha",), ("composite",)], ids="+".join)
def test_areas_of_maps_under_blocks(device, small, width, outputs):
    """A pixel lies in one or two columns and rows of a map that is not larger than the frame."""
    check(device, "MatteUpsample", picture(12, width, batch=2), small, outputs=outputs, method="area")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("width", "small"), [(1920, 512), (1080, 512), (1080, 672), (1080, 1079), (960, 320)])
def test_areas_of_maps_along_wide_frames(device, width, small, dtype):
    """Boundaries that fall on pixels, and steps that are not exact, from end to end."""
    check(device, "MatteUpsample", picture(4, width), (3, small), outputs=("pha",), dtype=dtype, method="area")


@pytest.mark.parametrize("size", [(70000, 1, 12), (2, 65536, 12)], ids=str)
def test_more_images_and_rows_than_a_grid_has(device, size):
    """A grid has at most 65535 blocks along two of its three axes. Sides are at most 65536."""
    batch, height, width = size
    check(device, "MatteUpsample", picture(height, width, batch=batch), (1, 3), outputs=("pha",))


def test_samples_of_more_images_than_a_grid_has(device):
    check_sample(device, picture(1, 2, batch=70000), 1, 1)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("width", [8, 1080, 1920])
@pytest.mark.parametrize("size", [(1, 3), (3, 5), (9, 135), (36, 2100)], ids=str)
def test_areas_of_bytes(device, color, width, size):
    """Areas of packed bytes are summed in words of eight: whole and broken steps, larger and smaller samples."""
    check_sample(device, picture(36, width, batch=2), *size, method="area", color=color, dtype="float32")


@pytest.mark.parametrize("height", [255, 256, 257, 258, 300])
def test_areas_of_many_rows(device, height):
    """White sums up to the limit of 16 bits."""
    check_sample(device, np.full((height, 16, 3), 255, np.uint8), 1, 3, method="area")


def test_areas_of_many_images(device):
    check_sample(device, picture(2, 8, batch=5), 1, 2, method="area", dtype="float16", mean=(0.5, 0.5, 0.5))
