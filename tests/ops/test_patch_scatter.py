"""PatchScatter against its body, and its inverse index against plain numpy."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import arrays

from tests.ops.specification import MEMORIES, PATCH_SIZES, check_matte, maps, picture
from trtmatte import ops


def places(count, batch, height, width, seed=3, unused=0.1):
    """Places of patches on a frame: some twice, some unused."""
    random = np.random.default_rng(seed)
    indices = np.stack([random.integers(0, size, count) for size in (batch, height // 4, width // 4)], 1)
    indices[random.random(count) < unused] = -1
    return indices.astype(np.int32)


def refined(frame, count, small=(9, 14), kind=np.float32):
    batch, height, width = frame.shape[:3] if frame.ndim == 4 else (1, *frame.shape[:2])
    return {
        "coarse": maps(4, small[0], small[1], batch, kind),
        "patches": maps(4, 4, 4, count, kind, seed=2),
        "indices": places(count, batch, height, width),
    }


@pytest.mark.parametrize("size", PATCH_SIZES, ids=str)
def test_sizes(device, size):
    frame = picture(*size)
    small = (270, 480) if size[0] > 1000 else (37, 63)
    inputs = refined(frame, 5000 if size[0] > 1000 else 40, small)
    check_matte(device, "PatchScatter", frame, inputs, outputs=("fgr", "pha"), dtype="float32")


@pytest.mark.parametrize("small", [(1, 1), (10, 66), (40, 264), (41, 265), (120, 792)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_maps_of_any_size(device, small, kind):
    frame = picture(40, 264)
    check_matte(device, "PatchScatter", frame, refined(frame, 200, small, kind), dtype="float32")


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "bgr"), ("CHW", "rgb")])
def test_types_and_layouts(device, frame, dtype, layout, color):
    frame = picture(20, 36, batch=2, dtype=frame)
    background = picture(6, 5, batch=2)
    settings = {"dtype": dtype, "layout": layout, "color": color, "background": background}
    check_matte(device, "PatchScatter", frame, refined(frame, 60), **settings)


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory(device, memory):
    frame = picture(20, 300)
    check_matte(device, "PatchScatter", frame, refined(frame, 100), memory=MEMORIES[memory])


def test_indices_and_patches_may_lie_anyhow(device):
    frame, inputs = picture(16, 24), refined(picture(16, 24), 12)
    wide = np.full((24, 5), 99, np.int32)
    wide[::2, 3:0:-1] = inputs["indices"]
    turned = np.ascontiguousarray(inputs["patches"].transpose(3, 2, 1, 0))
    results = []
    for indices, patches in ((wide, turned), (inputs["indices"], inputs["patches"])):
        indices, patches = device.put(indices), device.put(patches)
        if len(indices) == 24:
            indices, patches = indices[::2, 3:0:-1], patches.transpose(3, 2, 1, 0)
        results.append(scatter(device, inputs["coarse"], patches, indices, frame))
    np.testing.assert_array_equal(*results)


def scatter(device, coarse, patches, indices, frame):
    """Alpha alone, float32."""
    batch, height, width = frame.shape[:3] if frame.ndim == 4 else (1, *frame.shape[:2])
    pha = device.put(np.full((*frame.shape[:-1], 1), 77, np.float32))
    ops.patch_scatter(
        device.put(coarse),
        patches,
        indices,
        device.put(frame),
        outputs=("pha",),
        out={"pha": pha},
        workspace=device.workspace(ops.patch_scatter_workspace(batch, height, width)),
        cuda_stream=device.stream,
    )
    return device.get(pha)[..., 0]


@st.composite
def crowded_places(draw):
    """Indices of every kind on a small frame: repeated, unused, and outside on every side."""
    batch, rows, columns = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20)))
    count = draw(st.integers(1, 60))
    limits = np.array([batch, rows, columns])
    indices = draw(arrays(np.int32, (count, 3), elements=st.integers(-2, 21)))
    if draw(st.booleans()):
        indices = np.where(indices < 0, indices, indices % limits).astype(np.int32)  # more of them inside
    return (batch, rows, columns), indices


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=crowded_places())
def test_the_last_of_each_place_wins_and_nothing_is_written_outside(device, case):
    (batch, rows, columns), indices = case
    expected = np.full((batch, rows, columns), 0.25, np.float32)
    values = np.linspace(0.5, 1, len(indices), dtype=np.float32)
    for (image, row, column), value in zip(indices, values, strict=True):
        if 0 <= image < batch and 0 <= row < rows and 0 <= column < columns:
            expected[image, row, column] = value
    frame = np.zeros((batch, 4 * rows, 4 * columns, 3), np.uint8)
    coarse = np.full((batch, 4, 1, 1), 0.25, np.float32)
    patches = np.broadcast_to(values[:, None, None, None], (len(values), 4, 4, 4))
    result = scatter(device, coarse, device.put(patches), device.put(indices), frame)
    np.testing.assert_array_equal(result, expected.repeat(4, 1).repeat(4, 2))


def test_extreme_indices_write_nothing(device):
    extremes = np.iinfo(np.int32)
    indices = np.array([[0, 0, 99], [0, 99, 0], [9, 0, 0]] * 2, np.int32)
    indices[3:][indices[3:] > 0] = extremes.min
    indices = np.concatenate([indices, np.full((1, 3), extremes.max, np.int32)])
    frame = np.zeros((8, 12, 3), np.uint8)
    result = scatter(
        device,
        np.full((1, 4, 2, 3), 0.5, np.float32),
        device.put(np.ones((len(indices), 4, 4, 4), np.float32)),
        device.put(indices),
        frame,
    )
    assert (result == 0.5).all()
