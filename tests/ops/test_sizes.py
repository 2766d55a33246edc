"""Sizes beyond 32 bits: the right result, or an error at once. Broadcast arrays have them without memory."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from tests.ops.specification import picture
from tests.test_core import run_python
from trtmatte import FrameError, SettingError, _core, ops

LARGEST = 2**31 - 1


def broadcast(*shape, dtype=np.float32):
    return np.broadcast_to(np.ones((), dtype), shape)


def select(images, side, **settings):
    count, indices = np.full(1, 7, np.int32), np.full((1, 3), 7, np.int32)
    settings = {"mode": "thresholding", "threshold": 0.5} | settings
    _core.patch_select(broadcast(images, 1, 1, 1), indices, count, rows=side, columns=side, **settings)
    return int(count[0]), indices.tolist()


@pytest.mark.parametrize(("images", "side"), [(8, 1 << 14), (1 << 15, 1 << 8), (LARGEST, 2)])
@pytest.mark.parametrize("mode", ["sampling", "thresholding"])
def test_more_patches_than_can_be_counted(images, side, mode):
    """2³¹ patches that are all selected, with room for one: their number once became a place before the indices."""
    with pytest.raises(FrameError, match=rf"{images * side * side} patches together; expected at most {LARGEST}"):
        select(images, side, mode=mode)


def test_many_images_of_few_patches():
    assert select(1 << 17, 1) == (1 << 17, [[0, 0, 0]])


@pytest.mark.parametrize("size", [(0, 4, 4), (-1, 4, 4), (1, -4, 4), (8, 1 << 14, 1 << 14), (1, 1 << 15, 4)])
def test_workspaces_that_cannot_be(size):
    with pytest.raises((SettingError, FrameError), match="expected"):
        ops.patch_select_workspace(*size)
    if size[0] < 1 or min(size) < 1:
        with pytest.raises(SettingError, match="expected"):
            ops.patch_scatter_workspace(*size)


def test_the_largest_workspaces_are_counted_in_64_bits():
    assert ops.patch_scatter_workspace(LARGEST, 1 << 16, 1 << 16) == LARGEST * 4 * (1 << 28)
    assert ops.patch_select_workspace(7, 1 << 14, 1 << 14) > 7 * 4 * (1 << 28)


@pytest.mark.slow
def test_means_of_areas_of_2_31_pixels():
    """The sum stays at 2²⁴, where a float cannot count on; its quotient must not be negative."""
    _, pha = ops.matte_upsample(picture(1, 1), broadcast(1, 1, 1 << 16, 1 << 15), method="area")
    assert pha.item() == 2


@pytest.mark.parametrize("patches", [LARGEST + 1, 2**32, 2**32 + 5])
def test_lists_longer_than_an_int(patches):
    frame, small = picture(8, 8), np.zeros((1, 4, 2, 2), np.float32)
    indices = broadcast(patches, 3, dtype=np.int32)
    with pytest.raises(FrameError, match=f"indices is .*expected sizes of at most {LARGEST}"):
        ops.patch_scatter(small, np.zeros((5, 4, 4, 4), np.float32), indices, frame)


def test_maps_of_more_channels_than_a_side_has_pixels():
    frame = picture(8, 8)
    maps = broadcast(1, LARGEST, 2, 2)
    half, full = np.zeros((1, 6, 8, 8), np.float32), np.zeros((1, 6, 8, 8), np.float32)
    with pytest.raises(FrameError, match=r"maps is .*expected sides of at most 65536"):
        ops.patch_crop(maps, frame, frame, np.zeros((1, 3), np.int32), half=half, full=full)


@pytest.mark.parametrize("shape", [(1 << 31, 1 << 16, 1 << 16, 3), (1 << 44, 1, 8, 3), (1 << 32, 8, 8, 3)])
def test_frames_of_more_elements_than_any_memory(shape):
    frame = broadcast(*shape, dtype=np.uint8) if np.prod(shape, dtype=object) < 2**63 else None
    if frame is None:
        frame = type(
            "Huge", (), {"__array_interface__": {**np.zeros(1, np.uint8).__array_interface__, "shape": shape}}
        )()
    with pytest.raises(FrameError, match=r"at most 2\^46|at most 2147483647"):
        ops.frame_sample(frame, 4, 4, out=np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_memory_that_cannot_be_had_is_named_and_the_next_call_works():
    code = """
        import resource
        import numpy as np
        from tests.ops.test_sizes import select

        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20), -1))
        try:
            select(1, 1 << 14)
        except MemoryError as error:
            print(error)
        print(select(3, 1)[0])
    """
    told, result = run_python(code).splitlines()
    assert re.match("an op needs 1073741824 bytes of working memory, which cannot be had", told)
    assert result == "3"


def test_an_output_without_memory_for_it_is_an_error():
    frames = np.broadcast_to(np.zeros((1, 4, 4, 3), np.uint8), (2**31 - 1, 4, 4, 3))
    with pytest.raises(FrameError, match=r"the output has the shape \[2147483647, 3, 60000, 60000\]"):
        ops.frame_sample(frames, 60000, 60000)
