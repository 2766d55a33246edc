"""GuidedUpsample against its body, and with it everything that the ops with sinks share."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.specification import MEMORIES, SINKS, SIZES, agree, check_matte, laid, maps, picture, planes, run
from trtmatte import ops

SMALL = {(1, 1): (1, 1), (7, 5): (3, 2), (149, 251): (56, 94), (480, 270): (120, 68), (1080, 1920): (270, 480)}
BACKGROUNDS = {
    "colour": np.array([[[0.1, 0.6, 0.8]]], np.float32),
    "colour uint8": np.array([[[30, 60, 250]]], np.uint8),
    "same size": picture(37, 301, seed=5),
    "same size float": picture(37, 301, dtype=np.float32, seed=5),
    "same size half": picture(37, 301, dtype=np.float16, seed=5),
    "smaller": picture(5, 9, seed=5),
    "larger": picture(100, 700, dtype=np.float32, seed=5),
    "a row": picture(1, 301, seed=5),
    "a column": picture(37, 1, dtype=np.float32, seed=5),
}


def coefficients(height, width, batch=1, dtype=np.float32):
    return {name: maps(4, height, width, batch, dtype, seed) for seed, name in enumerate(("A", "b"))}


def check(device, frame, small=(9, 14), kind=np.float32, **settings):
    batch = len(frame) if frame.ndim == 4 else 1
    check_matte(device, "GuidedUpsample", frame, coefficients(small[0], small[1], batch, kind), **settings)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(device, size):
    check(device, picture(*size), SMALL.get(size, (270, 480)), outputs=("fgr", "pha"), dtype="float32")


@pytest.mark.parametrize("size", SIZES[:-1], ids=str)
def test_sizes_of_bytes(device, size):
    check(device, picture(*size), SMALL[size])


@pytest.mark.parametrize("small", [(1, 1), (1, 5), (37, 261), (38, 262), (80, 270), (148, 1044), (200, 3)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_maps_of_any_size(device, small, kind):
    """Also larger than the frame, and of its very size."""
    check(device, picture(37, 261), small, kind, dtype="float32")


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_types_and_layouts(device, frame, dtype, layout, color):
    check(device, picture(19, 35, batch=2, dtype=frame), dtype=dtype, layout=layout, color=color)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_memory(device, memory, dtype, color):
    """Frame and outputs lie anyhow; what lies between their pixels stays as it was."""
    frame = picture(21, 301, dtype=np.dtype(dtype))
    check(device, frame, dtype=dtype, color=color, memory=MEMORIES[memory])


@pytest.mark.parametrize("outputs", [*((name,) for name in SINKS), ("fgr", "pha"), ("rgba", "composite")], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_outputs_alone(device, outputs, dtype):
    check(device, picture(23, 70), outputs=outputs, dtype=dtype)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_backgrounds(device, background, dtype, color):
    frame = picture(37, 301)
    check(device, frame, outputs=("composite",), dtype=dtype, color=color, background=BACKGROUNDS[background])


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (6, 11)], ids=str)
@pytest.mark.parametrize("batch", [1, 2])
def test_backgrounds_of_a_batch(device, size, batch):
    """One for all, or one for each frame."""
    check(device, picture(20, 30, batch=2), background=picture(size[0], size[1], batch, seed=6), dtype="float32")


def test_a_blurred_frame_as_background(device):
    """The background is made of the frame by FrameSample, and never leaves the device."""
    frame, inputs = picture(90, 160), coefficients(9, 16)
    blurred = np.empty((1, 3, 18, 32), np.float32)
    on_device = device.put(blurred)
    held = {name: device.put(value) for name, value in inputs.items()}
    source, composite = device.put(frame), device.put(np.empty_like(frame))
    ops.frame_sample(source, 18, 32, method="gaussian", sigma=6.0, out=on_device, cuda_stream=device.stream)
    ops.guided_upsample(
        source,
        **held,
        outputs=("composite",),
        background=on_device,
        out={"composite": composite},
        cuda_stream=device.stream,
    )
    sizes = {"height": 18, "width": 32, "step_y": [5, 1], "step_x": [5, 1]}
    sample = run("FrameSample", {"frame": frame[None]}, method=3, sigma=6.0, **sizes)["sample"]
    body_inputs = {"frame": frame[None], **inputs, "background": sample}
    expected = run("GuidedUpsample", body_inputs, ("composite",))["composite"]
    agree(device.get(composite), expected[0])


@pytest.mark.parametrize("width", [127, 256])
def test_halves_are_rounded_to_even(device, width):
    """b alone makes alpha; its values lie exactly between two bytes. CUDA's blocks take the second width."""
    between = np.arange(0.5, 255, dtype=np.float32) / np.float32(255)
    between = between[(between * np.float32(255)) % 1 == 0.5]
    assert len(between) > 50
    between = np.resize(between, width)
    b = np.zeros((1, 4, 1, len(between)), np.float32)
    b[0, 3] = between
    pha = device.put(np.empty((1, len(between), 1), np.uint8))
    A, b = device.put(np.zeros_like(b)), device.put(b)
    frame = device.put(picture(1, len(between)))
    ops.guided_upsample(frame, A, b, outputs=("pha",), out={"pha": pha}, cuda_stream=device.stream)
    np.testing.assert_array_equal(device.get(pha).ravel(), np.rint(between * np.float32(255)))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("lost", ["A", "b"])
def test_what_is_not_a_number_becomes_zero(device, dtype, lost):
    """And a pixel or more away from it nothing changes."""
    frame, inputs = picture(12, 40), coefficients(12, 40)
    results = []
    for rows, columns in ((slice(0), slice(0)), (slice(3, 6), slice(5, 30))):
        inputs[lost][..., rows, columns] = np.nan
        out = {name: device.put(np.full((12, 40, n), 77, dtype)) for name, n in (("pha", 1), ("rgba", 4))}
        held = {name: device.put(value) for name, value in inputs.items()}
        ops.guided_upsample(device.put(frame), **held, outputs=tuple(out), out=out, cuda_stream=device.stream)
        results.append(np.concatenate([device.get(value) for value in out.values()], 2))
    whole, holed = results
    assert not holed[3:6, 5:30].any()
    holed[2:7, 4:31] = whole[2:7, 4:31]
    np.testing.assert_array_equal(holed, whole)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_frames_beyond_their_range(device, dtype):
    """Values outside 0…1 and such that are no numbers come out inside 0…1."""
    frame = (picture(16, 33, dtype=np.float32) * 3 - 1).astype(dtype)
    frame[3, 4] = np.nan
    frame[5, 6] = np.inf
    check(device, frame, (16, 33), dtype="float32", outputs=("fgr", "pha", "rgba"))


def test_alpha_of_two_dimensions():
    frame, inputs = picture(8, 9), coefficients(2, 3)
    flat = np.empty((8, 9), np.uint8)
    ops.guided_upsample(frame, **inputs, outputs=("pha",), out={"pha": flat})
    np.testing.assert_array_equal(flat, ops.guided_upsample(frame, **inputs, outputs=("pha",))[0][..., 0])


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_missing_outputs_are_allocated(layout):
    frame, inputs = picture(8, 9, batch=2), coefficients(2, 3, batch=2)
    mine = np.empty((2, 8, 9, 4) if layout == "HWC" else (2, 4, 8, 9), np.float16)
    fgr, rgba = ops.guided_upsample(
        frame, **inputs, outputs=("fgr", "rgba"), dtype="float16", layout=layout, out={"rgba": mine}
    )
    assert rgba is mine
    assert fgr.dtype == np.float16
    colours = mine[..., :3] if layout == "HWC" else mine[:, :3]
    np.testing.assert_array_equal(fgr, colours)


def test_a_colour_may_be_three_numbers():
    frame, inputs = picture(8, 9), coefficients(2, 3)
    numbers = ops.guided_upsample(frame, **inputs, outputs=("composite",), background=(0.5, 0.25, 1))
    array = np.array([[[0.5, 0.25, 1]]], np.float32)
    np.testing.assert_array_equal(
        numbers, ops.guided_upsample(frame, **inputs, outputs=("composite",), background=array)
    )
    body_inputs = {"frame": frame[None], **inputs, "background": planes(array)}
    agree(numbers[0], run("GuidedUpsample", body_inputs, ("composite",))["composite"][0])


def test_the_layout_of_a_frame_is_found():
    frame, inputs = picture(8, 9), coefficients(2, 3)
    expected = ops.guided_upsample(frame, **inputs)
    for name, value in zip(("fgr", "pha"), ops.guided_upsample(laid(frame, "CHW"), **inputs), strict=True):
        np.testing.assert_array_equal(value, expected[("fgr", "pha").index(name)])
