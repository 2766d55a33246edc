"""FrameSample against its body."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import TensorProto

from tests.ops.specification import (
    MEMORIES,
    METHODS,
    PACKED,
    SIZES,
    agree,
    batched,
    frame_attributes,
    laid,
    picture,
    run,
)
from trtmatte import ops

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
    agree(device.get(out), expected, scale=1 / min(std))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("method", METHODS[:4])
def test_sizes(device, size, method):
    check(device, picture(*size), 270, 480, method=method, sigma=2.5)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (37, 62), (149, 251), (150, 252), (400, 600)], ids=str)
@pytest.mark.parametrize(
    ("method", "sigma"), [("linear", 1.0), ("area", 1.0), ("antialias", 1.0), ("gaussian", 0.25), ("gaussian", 7.0)]
)
def test_sizes_of_the_sample(device, size, method, sigma):
    """Smaller, larger, and of the frame's own size."""
    check(device, picture(149, 251), *size, method=method, sigma=sigma)


@pytest.mark.parametrize(("high", "wide", "ratio"), [(149, 251, (3, 8)), (1080, 1920, (1, 4)), (97, 311, (7, 10))])
@pytest.mark.parametrize("method", METHODS[:4])
def test_stated_steps(device, high, wide, ratio, method):
    """RVM's network sees `floor(size * ratio)` pixels that lie `1 / ratio` apart."""
    ratio = Fraction(*ratio)
    size = int(high * ratio), int(wide * ratio)
    check(device, picture(high, wide), *size, steps=(1 / ratio, 1 / ratio), method=method, sigma=1.5)


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("HWC", "bgr"), ("CHW", "rgb"), ("CHW", "bgr")])
@pytest.mark.parametrize("method", ["linear", "antialias"])
def test_types_and_layouts(device, frame, dtype, layout, color, method):
    frame = picture(29, 45, batch=2, dtype=frame)
    check(device, frame, 13, 20, dtype=dtype, layout=layout, color=color, method=method, **IMAGENET)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("method", ["linear", "area"])
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
