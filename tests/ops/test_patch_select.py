"""PatchSelect against its body, and against a plain sort."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import arrays

from tests.conftest import Emulated, cuda_device
from tests.ops.specification import run
from trtmatte import ops
from trtmatte.errors import FrameError


def select(device, err, height, width, capacity=None, **choice):
    """The native form's indices, count and ref."""
    batch = len(err) if err.ndim == 4 else 1
    room = batch * height * width if capacity is None else capacity
    outputs = [
        device.put(np.full(shape, 77, dtype))
        for shape, dtype in (((room, 3), np.int32), ((1,), np.int32), ((batch, 1, height, width), np.float32))
    ]
    ops.patch_select(
        device.put(err),
        height,
        width,
        **choice,
        **dict(zip(("indices", "count", "ref"), outputs, strict=True)),
        workspace=device.workspace(ops.patch_select_workspace(batch, height, width)),
        cuda_stream=device.stream,
    )
    indices, count, ref = map(device.get, outputs)
    return indices, int(count[0]), ref


def plain(err, mode="sampling", k=1, threshold=0.1, prevent_oversampling=True):
    """Which patches are selected, by a stable sort of each image; `err` is [B,1,height,width]."""
    chosen = np.zeros(err.shape, bool)
    for image, into in zip(err.reshape(len(err), -1).astype(np.float64), chosen.reshape(len(err), -1), strict=True):
        value = np.where(np.isnan(image), -np.inf, image)
        if mode == "thresholding":
            into[:] = value > np.float32(threshold)
        else:
            into[np.argsort(-value, kind="stable")[:k]] = True
            if prevent_oversampling:
                into &= value > 0
    return chosen


def check(result, chosen):
    """The outputs tell of exactly these patches."""
    indices, count, ref = result
    places = np.argwhere(chosen[:, 0])
    np.testing.assert_array_equal(ref, chosen.astype(np.float32))
    assert count == len(places)
    kept = places[: len(indices)]
    np.testing.assert_array_equal(indices[: len(kept)], kept)
    assert (indices[len(kept) :] == -1).all()


def errors(height, width, batch=1, dtype=np.float32, seed=4):
    return np.random.default_rng(seed).random((batch, 1, height, width), np.float32).astype(dtype)


@pytest.mark.parametrize("mode", ["sampling", "thresholding"])
def test_more_images_than_a_grid_has(device, mode):
    """A grid has at most 65535 blocks along the axis of the images."""
    if isinstance(device, Emulated):
        pytest.skip("blocks of 1024 threads for each of 70000 images take the emulation half an hour")
    err = errors(1, 2, batch=70000)
    check(select(device, err, 1, 2, mode=mode, threshold=0.5), plain(err, mode, threshold=0.5))


@pytest.mark.parametrize("k", [1, 5000, 20000, 270 * 480 - 1, 270 * 480])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sampling_hd(device, k, dtype):
    """Float16 has few values: most patches have an equal."""
    err = errors(270, 480, batch=2, dtype=dtype)
    check(select(device, err, 270, 480, capacity=2 * k, k=k), plain(err, k=k))


@pytest.mark.parametrize(("mode", "number"), [("sampling", 0), ("thresholding", 1)])
@pytest.mark.parametrize("prevent", [True, False])
@pytest.mark.parametrize("capacity", [0, 1, 1999, 2 * 90 * 160])
def test_body(device, mode, number, prevent, capacity):
    """The same places, in the same order, with the same tail."""
    err = np.maximum(errors(90, 160, batch=2) - 0.9, 0)
    if capacity == 0:
        capacity = 2 * 90 * 160 + 50
    choice = {"k": 2000, "threshold": 0.05}
    attributes = {**choice, "mode": number, "prevent_oversampling": int(prevent), "capacity": capacity}
    expected = run("PatchSelect", {"err": err}, height=90, width=160, **attributes)
    result = select(device, err, 90, 160, capacity, mode=mode, prevent_oversampling=prevent, **choice)
    for actual, name in zip(result, ("indices", "count", "ref"), strict=True):
        np.testing.assert_array_equal(actual, expected[name].reshape(np.shape(actual)), name)


def sampled(err, height, width):
    """Linear sampling in double precision."""
    for axis, count in ((2, height), (3, width)):
        length = err.shape[axis]
        at = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
        left = np.floor(at).astype(int)
        right = np.minimum(left + 1, length - 1)
        share = (at - left).reshape([-1 if each == axis else 1 for each in range(4)])
        err = err.take(left, axis) * (1 - share) + err.take(right, axis) * share
    return err


@pytest.mark.parametrize("size", [(1, 1), (68, 120), (135, 240), (300, 500), (540, 960)], ids=str)
@pytest.mark.parametrize("grid", [(1, 1), (37, 62), (270, 480)], ids=str)
def test_the_error_is_sampled_to_the_grid(device, size, grid):
    """Where float32 cannot tell a value from the one at the limit, either may be taken."""
    err = errors(*size)
    value = sampled(err.astype(np.float64), *grid)
    k = max(1, value.size // 10)
    _, count, ref = select(device, err, *grid, k=k)
    limit = np.sort(value, axis=None)[-k]
    assert count == k
    assert value[ref == 1].min() >= limit - 1e-6
    assert (ref[value > limit + 1e-6] == 1).all()
    expected = run("PatchSelect", {"err": err}, height=grid[0], width=grid[1], k=k, capacity=k)["ref"]
    assert (np.abs(value[ref != expected] - limit) <= 1e-5).all()


def test_thresholding_and_full(device):
    err = errors(54, 96, batch=3)
    check(select(device, err, 54, 96, mode="thresholding", threshold=0.3), plain(err, "thresholding", threshold=0.3))
    everything = np.ones(err.shape, bool)
    check(select(device, np.zeros_like(err), 54, 96, mode="thresholding", threshold=-1.0), everything)


def test_equal_everywhere(device):
    """The first k, whatever the value."""
    err = np.full((2, 1, 100, 101), 0.5, np.float32)
    check(select(device, err, 100, 101, k=5000), plain(err, k=5000))
    result = select(device, np.zeros_like(err), 100, 101, k=5000, prevent_oversampling=False)
    check(result, plain(err, k=5000))


def test_errors_may_lie_anyhow(device):
    """A channel of a larger tensor, upside down."""
    large = np.random.default_rng(8).random((2, 5, 20, 64), np.float32)
    err = device.put(large)[:, 3:4, ::-1, ::2]
    indices, count, ref = (
        device.put(np.zeros(shape, dtype))
        for shape, dtype in (((60, 3), np.int32), ((1,), np.int32), ((2, 1, 20, 32), np.float32))
    )
    workspace = device.workspace(ops.patch_select_workspace(2, 20, 32))
    outputs = {"indices": indices, "count": count, "ref": ref}
    ops.patch_select(err, 20, 32, k=30, **outputs, workspace=workspace, cuda_stream=device.stream)
    result = device.get(indices), int(device.get(count)[0]), device.get(ref)
    check(result, plain(large[:, 3:4, ::-1, ::2], k=30))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("part", "problem"),
    [(slice(3, None), "a multiple of 16"), (slice(None, None, 2), "packed"), (slice(64), "at least")],
    ids=["unaligned", "gaps", "short"],
)
def test_a_workspace_that_no_kernel_could_use(part, problem):
    device, err = cuda_device(), errors(20, 32)
    indices, count, ref = (
        device.put(np.zeros(shape, dtype))
        for shape, dtype in (((30, 3), np.int32), ((1,), np.int32), ((1, 1, 20, 32), np.float32))
    )
    workspace = device.workspace(3 * ops.patch_select_workspace(1, 20, 32))[part]
    with pytest.raises(FrameError, match=f"workspace is .*{problem}"):
        ops.patch_select(
            device.put(err),
            20,
            32,
            k=30,
            indices=indices,
            count=count,
            ref=ref,
            workspace=workspace,
            cuda_stream=device.stream,
        )


@st.composite
def selections(draw):
    """Small grids full of ties, zeros of both signs, negative values and such that are no numbers."""
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    batch, height, width = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 70)))
    ties = st.sampled_from([0.0, -0.0, 0.25, 0.5, -0.5, float("nan"), 1.0])
    elements = st.one_of(ties, st.floats(-2, 2, width=16))
    err = draw(arrays(dtype, (batch, 1, height, width), elements=elements))
    choice = {
        "mode": draw(st.sampled_from(["sampling", "thresholding"])),
        "k": draw(st.integers(1, height * width)),
        "threshold": draw(st.sampled_from([-1.0, -0.0, 0.0, 0.1, 0.25, 0.5])),
        "prevent_oversampling": draw(st.booleans()),
    }
    capacity = draw(st.integers(1, batch * height * width + 2))
    return err, choice, capacity


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=selections())
def test_a_plain_sort_selects_the_same(device, case):
    err, choice, capacity = case
    result = select(device, err, err.shape[2], err.shape[3], capacity, **choice)
    check(result, plain(err, **choice))


def test_every_bit_of_a_value_counts(device):
    """Values that differ in their last bit only, positive and negative, around each power of two."""
    powers = np.float32(2) ** np.arange(-126, 127, dtype=np.float32)
    near = np.concatenate([np.nextafter(powers, 0), powers, np.nextafter(powers, np.float32(np.inf))])
    err = np.concatenate([near, -near]).astype(np.float32)
    np.random.default_rng(2).shuffle(err)
    err = err.reshape(1, 1, 6, -1)
    for k in (1, 2, 3, 100, 758, 759, 760, 1000, err.size):
        result = select(device, err, *err.shape[2:], k=k, prevent_oversampling=False)
        check(result, plain(err, k=k, prevent_oversampling=False))


def test_outputs_are_allocated():
    err = errors(6, 7, batch=2)
    indices, count, ref = ops.patch_select(err, 6, 7, k=5)
    assert (indices.shape, count.shape, ref.shape) == ((10, 3), (1,), (2, 1, 6, 7))
    check((indices, int(count[0]), ref), plain(err, k=5))
    indices, count, ref = ops.patch_select(err, 6, 7, mode="thresholding", threshold=0.5, capacity=3)
    assert indices.shape == (3, 3)
    check((indices, int(count[0]), ref), plain(err, "thresholding", threshold=0.5))
