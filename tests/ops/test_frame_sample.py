"""FrameSample against its body."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.ops.specification import (
    MEMORIES,
    METHODS,
    PACKED,
    SIZES,
    agree,
    agree_in_steps,
    batched,
    frame_attributes,
    laid,
    picture,
    resized_by_pillow,
    run,
)
from trtmatte import ops

IN_STEPS = ("lanczos", "bicubic")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def check(
    device,
    frame,
    height,
    width,
    *,
    steps=None,
    method="linear",
    sigma=1.0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    dtype="float32",
    layout="HWC",
    color="rgb",
    memory=PACKED,
):
    """Native form against body; the frame lies in `memory`."""
    high, wide = batched(frame).shape[1:3]
    step_y, step_x = steps or (Fraction(high, height), Fraction(wide, width))
    frame = laid(frame, layout, color)
    expected = run(
        "FrameSample",
        {"frame": batched(frame)},
        height=height,
        width=width,
        step_y=[step_y.numerator, step_y.denominator],
        step_x=[step_x.numerator, step_x.denominator],
        method=METHODS.index(method),
        sigma=sigma,
        mean=list(mean),
        std=list(std),
        type=int(TensorProto.FLOAT if dtype == "float32" else TensorProto.FLOAT16),
        **frame_attributes(frame.dtype, layout, color),
    )["sample"]
    out = device.put(np.full(expected.shape, 77, dtype))
    ops.frame_sample(
        memory.view(device.put(memory.buffer(frame))),
        height,
        width,
        step_y=None if steps is None else step_y,
        step_x=None if steps is None else step_x,
        method=method,
        sigma=sigma,
        mean=mean,
        std=std,
        frame_layout=layout,
        color=color,
        out=out,
        cuda_stream=device.stream,
    )
    if method in IN_STEPS:
        agree_in_steps(device.get(out), expected, scale=1 / min(std))
    else:
        agree(device.get(out), expected, scale=1 / min(std))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_sizes(device, size, method):
    check(device, picture(*size), 270, 480, method=method, sigma=2.5)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (37, 62), (149, 251), (150, 252), (400, 600), (40, 240)], ids=str)
@pytest.mark.parametrize(
    ("method", "sigma"),
    [*((method, 1.0) for method in METHODS if method != "gaussian"), ("gaussian", 0.25), ("gaussian", 7.0)],
)
def test_sizes_of_the_sample(device, size, method, sigma):
    """Smaller, larger, and of the frame's own size."""
    check(device, picture(149, 251), *size, method=method, sigma=sigma)


@pytest.mark.parametrize(("high", "wide", "ratio"), [(149, 251, (3, 8)), (1080, 1920, (1, 4)), (97, 311, (7, 10))])
@pytest.mark.parametrize("method", METHODS)
def test_stated_steps(device, high, wide, ratio, method):
    """RVM's network sees `floor(size * ratio)` pixels that lie `1 / ratio` apart."""
    ratio = Fraction(*ratio)
    size = int(high * ratio), int(wide * ratio)
    check(device, picture(high, wide), *size, steps=(1 / ratio, 1 / ratio), method=method, sigma=1.5)


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("HWC", "bgr"), ("CHW", "rgb"), ("CHW", "bgr")])
@pytest.mark.parametrize("method", ["linear", "antialias", "lanczos"])
@pytest.mark.parametrize("size", [(13, 20), (9, 40)], ids=str)
def test_types_and_layouts(device, frame, dtype, layout, color, method, size):
    frame = picture(29, 45, batch=2, dtype=frame)
    check(device, frame, *size, dtype=dtype, layout=layout, color=color, method=method, **IMAGENET)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("method", ["linear", "area", "bicubic"])
def test_memory(device, memory, dtype, method):
    check(device, picture(41, 301, dtype=dtype), 10, 290, memory=MEMORIES[memory], method=method)


def test_the_sample_may_lie_anyhow(device):
    """Between others in a batch, its columns mirrored."""
    frame = picture(41, 301)
    buffer = device.put(np.full((3, 3, 12, 40), 77, np.float32))
    ops.frame_sample(device.put(frame), 10, 40, out=buffer[1:2, :, 1:-1, ::-1], cuda_stream=device.stream)
    result = device.get(buffer)
    sizes = {"height": 10, "width": 40, "step_y": [41, 10], "step_x": [301, 40]}
    agree(result[1:2, :, 1:-1, ::-1], run("FrameSample", {"frame": frame[None]}, **sizes)["sample"])
    result[1:2, :, 1:-1] = 77
    assert (result == 77).all()


def test_the_sample_is_allocated():
    sample = ops.frame_sample(picture(20, 30, batch=2), 5, 6, dtype="float16")
    assert sample.shape == (2, 3, 5, 6)
    assert sample.dtype == np.float16


# ---------------------------------------------------------------------------------------------------------------------
# Pillow's bytes


def hard_edges(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise between black and white areas, at whose edges sums overshoot."""
    areas = np.random.default_rng(seed).integers(0, 3, (height // 7 + 1, width // 7 + 1, 3))
    areas = areas.repeat(7, axis=0).repeat(7, axis=1)[:height, :width]
    return np.choose(areas, [0, picture(height, width, seed=seed), 255]).astype(np.uint8)


def require_pillow_s_bytes(sample: np.ndarray, frame: np.ndarray, method: str, off: float = 0.002) -> None:
    """At most a share `off` of the bytes differs, by one."""
    expected = resized_by_pillow(np.ascontiguousarray(frame), sample.shape[2:], method)
    difference = np.abs(np.rint(sample[0] * 255).transpose(1, 2, 0) - expected)
    assert difference.max() <= 1
    assert (difference > 0).sum() <= max(3, off * difference.size)


@pytest.mark.parametrize("method", IN_STEPS)
@pytest.mark.parametrize(
    "size", [(1080, 1920), (1920, 1080), (1279, 853), (97, 131), (160, 160), (640, 640), (5, 7)], ids=str
)
@pytest.mark.parametrize("network", [(320, 320), (137, 411)], ids=str)
def test_bytes_become_those_of_pillow(method, size, network):
    frame = hard_edges(*size)
    require_pillow_s_bytes(ops.frame_sample(frame, *network, method=method), frame, method)


@pytest.mark.parametrize("method", IN_STEPS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_bytes_in_any_memory_become_those_of_pillow(method, memory):
    frame = hard_edges(211, 173)
    lying = MEMORIES[memory].view(MEMORIES[memory].buffer(frame))
    require_pillow_s_bytes(ops.frame_sample(lying, 96, 128, method=method), frame, method)
    swapped = ops.frame_sample(lying, 96, 128, method=method, color="bgr")
    require_pillow_s_bytes(swapped, frame[..., ::-1], method)


SIDE = st.integers(1, 120)


@pytest.mark.parametrize("method", IN_STEPS)
@settings(max_examples=80, deadline=None)
@given(size=st.tuples(SIDE, SIDE), network=st.tuples(SIDE, SIDE), seed=st.integers(0, 9))
def test_bytes_of_any_size_become_those_of_pillow(method, size, network, seed):
    """A few pixels between black and white may all lie halfway between two bytes."""
    frame = hard_edges(size[0], size[1], seed=seed)
    require_pillow_s_bytes(ops.frame_sample(frame, *network, method=method), frame, method, off=0.02)


@pytest.mark.parametrize("method", IN_STEPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_float_frames_are_rounded_in_the_same_way(method, dtype):
    frame = hard_edges(149, 251)
    sample = ops.frame_sample((frame / np.float32(255)).astype(dtype), 64, 96, method=method)
    steps = sample * 255
    assert np.abs(steps - np.rint(steps)).max() < 1e-3
    expected = resized_by_pillow(frame, (64, 96), method)
    difference = np.abs(np.rint(steps[0]).transpose(1, 2, 0) - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= (0.999 if dtype == np.float32 else 0.9)  # a half has lost bits of some bytes
