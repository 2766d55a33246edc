"""ForegroundEstimate against its body, and against colours that are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.specification import MEMORIES, agree, batched, frame_attributes, laid, maps, picture, run
from trtmatte import ops

SIZES = [(1, 1), (7, 5), (128, 130), (149, 251), (480, 270), (1080, 1920)]


def estimate(device, frame, alpha, dtype="float32", layout="HWC", color="rgb"):
    """The native form's colours."""
    out = device.put(np.full((len(alpha), 6, 128, 128), 77, dtype))
    ops.foreground_estimate(
        frame,
        device.put(alpha),
        frame_layout=layout,
        color=color,
        out=out,
        workspace=device.workspace(ops.foreground_estimate_workspace()),
        cuda_stream=device.stream,
    )
    return device.get(out)


def check(device, frame, alpha, dtype="float32", layout="HWC", color="rgb"):
    """Native form against body. Where alpha hardly changes in a cell, a difference of alpha grows in the colours."""
    given = laid(frame, layout, color)
    attributes = frame_attributes(frame.dtype, layout, color)
    expected = run("ForegroundEstimate", {"frame": batched(given), "alpha": alpha}, **attributes)["colours"]
    agree(estimate(device, device.put(given), alpha, dtype, layout, color), expected.astype(dtype), scale=8.0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 4])
def test_sizes(device, size, channels):
    check(device, picture(*size), maps(channels, 32, 48))


@pytest.mark.parametrize("small", [(1, 1), (3, 130), (200, 64), (320, 320)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_alphas_of_any_size(device, small, kind):
    check(device, picture(90, 200), maps(1, small[0], small[1], dtype=kind))


@pytest.mark.parametrize("frame", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("layout", "color"), [("HWC", "rgb"), ("CHW", "bgr")])
def test_types_and_layouts(device, frame, dtype, layout, color):
    check(device, picture(19, 35, batch=2, dtype=frame), maps(1, 9, 14, batch=2), dtype, layout, color)


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory(device, memory):
    """The same colours, however the frame lies in memory."""
    frame, alpha, memory = picture(21, 301), maps(1, 9, 14), MEMORIES[memory]
    view = memory.view(device.put(memory.buffer(frame)))
    agree(estimate(device, view, alpha), estimate(device, device.put(frame), alpha))


def test_what_is_not_a_number_is_zero(device):
    frame, alpha = picture(40, 60, dtype=np.float32), maps(1, 40, 60)
    frame[3, 5], alpha[0, 0, 20, 30] = np.nan, np.nan
    colours = estimate(device, device.put(frame), alpha)
    assert np.isfinite(colours).all()
    frame[3, 5] = 0
    agree(colours, estimate(device, device.put(frame), alpha), what="a pixel that is not a number is black")


def test_two_colours_that_mix_are_told_apart(device):
    """No pixel shows either of them: alpha is 0.2 to 0.8 everywhere."""
    front, back = np.float32([0.8, 0.3, 0.1]), np.float32([0.1, 0.4, 0.9])
    alpha = np.random.default_rng(3).uniform(0.2, 0.8, (1, 1, 256, 256)).astype(np.float32)
    share = alpha[0, 0, :, :, None]
    colours = estimate(device, device.put(share * front + (1 - share) * back), alpha)
    assert np.abs(colours - np.concatenate([front, back])[None, :, None, None]).max() < 0.02


def test_colours_are_found_where_alpha_says_nothing(device):
    """Without any foreground on the right, its colour comes from the left, and the background's the other way."""
    alpha = np.zeros((1, 1, 256, 256), np.float32)
    alpha[..., :64] = 1
    frame = np.where(alpha[0, 0, :, :, None] > 0, np.float32([0.9, 0.2, 0.1]), np.float32([0.1, 0.3, 0.8]))
    colours = estimate(device, device.put(frame), alpha)[0]
    np.testing.assert_allclose(colours[:3, 64, 40:], np.float32([0.9, 0.2, 0.1])[:, None].repeat(88, 1), atol=0.1)
    np.testing.assert_allclose(colours[3:, 64, :24], np.float32([0.1, 0.3, 0.8])[:, None].repeat(24, 1), atol=0.1)


def test_an_output_is_allocated():
    frame, alpha = picture(30, 40, batch=2), maps(1, 5, 6, batch=2)
    colours = ops.foreground_estimate(frame, alpha, dtype="float16")
    assert (colours.shape, colours.dtype) == ((2, 6, 128, 128), np.float16)
    np.testing.assert_array_equal(colours, ops.foreground_estimate(frame, alpha).astype(np.float16))
