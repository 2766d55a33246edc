"""PatchCrop against its body."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.ops.specification import (
    MEMORIES,
    PACKED,
    PATCH_SIZES,
    agree,
    batched,
    frame_attributes,
    laid,
    maps,
    picture,
    run,
)
from tests.ops.test_patch_scatter import places
from trtmatte import ops


def check(
    device, src, small, indices, *, kernel=3, channels=36, kind=np.float32, dtype="float32", layout="HWC", color="rgb",
    memory=PACKED,
):  # fmt: skip
    """Native form against body; both frames lie in `memory`."""
    batch = len(src) if src.ndim == 4 else 1
    bgr = 1 - src if src.dtype.kind == "f" else 255 - src
    inputs = {
        "maps": maps(channels, small[0], small[1], batch, kind),
        "src": laid(src, layout, color),
        "bgr": laid(bgr, layout, color),
        "indices": indices,
    }
    body_inputs = {name: batched(value) if name in ("src", "bgr") else value for name, value in inputs.items()}
    expected = run(
        "PatchCrop",
        body_inputs,
        kernel=kernel,
        type=int(TensorProto.FLOAT if dtype == "float32" else TensorProto.FLOAT16),
        **frame_attributes(src.dtype, layout, color),
    )
    outputs = {name: device.put(np.full(value.shape, 77, dtype)) for name, value in expected.items()}
    one, other = (memory.view(device.put(memory.buffer(inputs[name]))) for name in ("src", "bgr"))
    ops.patch_crop(
        device.put(inputs["maps"]),
        one,
        other,
        device.put(indices),
        kernel=kernel,
        frame_layout=layout,
        color=color,
        **outputs,
        cuda_stream=device.stream,
    )
    for name, value in expected.items():
        agree(device.get(outputs[name]), value, scale=1.6, what=name)


def everywhere(batch, height, width):
    """Every place of a frame, and the unused one."""
    grid = np.argwhere(np.ones((batch, height // 4, width // 4), bool))
    return np.concatenate([grid[: len(grid) // 2], [[-1, -1, -1]], grid[len(grid) // 2 :]]).astype(np.int32)


@pytest.mark.parametrize("size", PATCH_SIZES, ids=str)
@pytest.mark.parametrize("kernel", [3, 1])
def test_sizes(device, size, kernel):
    large = size[0] > 1000
    indices = places(2000 if large else 60, 1, *size)
    check(device, picture(*size), (270, 480) if large else (37, 63), indices, kernel=kernel)


@pytest.mark.parametrize("small", [(1, 1), (4, 5), (10, 14), (20, 28), (40, 56), (33, 300)], ids=str)
@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_every_place(device, small, kernel, kind):
    """Borders and corners among them, with maps of any size: also those of the picture's and larger."""
    check(device, picture(40, 56, batch=2), small, everywhere(2, 40, 56), kernel=kernel, kind=kind)


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("HWC", "bgr"), ("CHW", "rgb"), ("CHW", "bgr")])
def test_types_and_layouts(device, frame, dtype, kernel, layout, color):
    frame = picture(16, 24, batch=2, dtype=frame)
    settings = {"kernel": kernel, "dtype": dtype, "layout": layout, "color": color}
    check(device, frame, (5, 7), everywhere(2, 16, 24), **settings)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("kernel", [3, 1])
def test_memory(device, memory, kernel):
    check(device, picture(16, 24), (5, 7), everywhere(1, 16, 24), kernel=kernel, memory=MEMORIES[memory])


@pytest.mark.parametrize("channels", [1, 4, 36, 69])
def test_any_number_of_maps(device, channels):
    check(device, picture(16, 24), (5, 7), everywhere(1, 16, 24), channels=channels)


def test_the_two_frames_may_lie_differently(device):
    src, bgr, indices = picture(16, 24), picture(16, 24, seed=9), everywhere(1, 16, 24)
    small = maps(36, 5, 7)
    expected = run("PatchCrop", {"maps": small, "src": src[None], "bgr": bgr[None], "indices": indices})
    outputs = {name: device.put(np.full(value.shape, 77, np.float32)) for name, value in expected.items()}
    memory = MEMORIES["mirrored"]
    mirrored = memory.view(device.put(memory.buffer(bgr)))
    ops.patch_crop(
        device.put(small), device.put(src), mirrored, device.put(indices), **outputs, cuda_stream=device.stream
    )
    for name, value in expected.items():
        agree(device.get(outputs[name]), value, scale=1.6, what=name)


@pytest.mark.parametrize("kernel", [3, 1])
def test_places_outside_give_zeros(device, kernel):
    extremes = np.iinfo(np.int32)
    outside = [[0, 4, 0], [0, 0, 6], [1, 0, 0], [0, -1, 0], [0, 0, -1], [extremes.max] * 3, [extremes.min] * 3]
    indices = np.array(outside, np.int32)
    sides = (8, 8) if kernel == 3 else (2, 4)
    half = device.put(np.full((len(indices), 42, sides[0], sides[0]), 77, np.float32))
    full = device.put(np.full((len(indices), 6, sides[1], sides[1]), 77, np.float32))
    src = device.put(picture(16, 24))
    ops.patch_crop(
        device.put(maps(36, 5, 7)),
        src,
        src,
        device.put(indices),
        kernel=kernel,
        half=half,
        full=full,
        cuda_stream=device.stream,
    )
    assert not device.get(half).any()
    assert not device.get(full).any()


def test_outputs_are_allocated():
    src = picture(16, 24)
    half, full = ops.patch_crop(maps(36, 5, 7), src, src, everywhere(1, 16, 24), dtype="float16", kernel=1)
    assert (half.shape, full.shape) == ((25, 42, 2, 2), (25, 6, 4, 4))
    assert half.dtype == full.dtype == np.float16
