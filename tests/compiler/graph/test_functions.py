"""The function bodies in ONNX Runtime against PyTorch and plain numpy."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from tests.ops.specification import no_colours
from trtmatte.compiler.graph import functions
from trtmatte.errors import ModelError
from trtmatte.format.outputs import MATTE_OUTPUTS

SIZES = [(1, 1), (7, 5), (149, 251), (64, 96)]
SINKS = list(MATTE_OUTPUTS)
BLACK = np.zeros((1, 3, 1, 1), np.float32)
random = np.random.default_rng(0)


def run(op, inputs, outputs=None, **attributes):
    """The op's outputs, by name; those not named are not asked for."""
    known = list(functions.OPS[op].outputs)
    outputs = known if outputs is None else outputs
    infos = [(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in inputs.items()]
    model = functions.model(op, infos, [name if name in outputs else "" for name in known], **attributes)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, inputs), strict=True))


def picture(height, width, batch=1, dtype=np.uint8):
    pixels = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    return pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)


def planes(frame):
    """An RGB HWC picture as a tensor [B,3,H,W] in 0…1."""
    x = torch.from_numpy(frame.astype(np.float32)).permute(0, 3, 1, 2)
    return x / 255 if frame.dtype == np.uint8 else x


def maps(channels, height, width, batch=1):
    return random.normal(0.3, 0.5, (batch, channels, height, width)).astype(np.float32)


def linear(x, height, width):
    return F.interpolate(torch.as_tensor(x), (height, width), mode="bilinear", align_corners=False)


def close(actual, expected, tolerance=5e-6):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=0, atol=tolerance)


# ---------------------------------------------------------------------------------------------------------------------
# FrameSample


def sample(frame, height, width, step_y=None, step_x=None, **attributes):
    high, wide = frame.shape[1:3] if "frame_perm" not in attributes else frame.shape[2:4]
    steps = {"step_y": step_y or [high, height], "step_x": step_x or [wide, width]}
    return run("FrameSample", {"frame": frame}, height=height, width=width, **steps, **attributes)["sample"]


@pytest.mark.parametrize(("height", "width"), [(7, 5), (149, 251), (1080, 1920)])
@pytest.mark.parametrize(("ratio", "step"), [(0.375, [8, 3]), (0.25, [4, 1]), (0.7, [10, 7])])
def test_sampling_by_scale_has_the_step_of_the_scale(height, width, ratio, step):
    frame = picture(height, width)
    exact = planes(frame).double()  # in float32 PyTorch's coordinates lose what is measured here
    expected = F.interpolate(
        exact, scale_factor=ratio, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )
    close(sample(frame, expected.shape[2], expected.shape[3], step, step), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("small_height", "small_width"), [(1, 1), (3, 2), (37, 62), (64, 96)])
@pytest.mark.parametrize("method", ["linear", "area", "antialias"])
def test_sampling_by_size_is_pytorchs(height, width, small_height, small_width, method):
    frame = picture(height, width, batch=2)
    size = (small_height, small_width)
    expected = {
        "linear": lambda x: linear(x, *size),
        "area": lambda x: F.interpolate(x, size, mode="area"),
        "antialias": lambda x: F.interpolate(x, size, mode="bilinear", antialias=True),
    }[method](planes(frame))
    number = ["linear", "area", "antialias"].index(method)
    close(sample(frame, *size, method=number), expected, 5e-5)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 5.5])
@pytest.mark.parametrize(("length", "count"), [(1, 1), (5, 7), (40, 9), (61, 61)])
def test_gaussian_weights(length, count, sigma):
    row = picture(1, length)
    centers = (np.arange(count) + 0.5) * length / count
    distance = (np.arange(length) + 0.5 - centers[:, None]) / sigma
    weights = np.maximum(0, np.exp(-(distance**2) / 2) - np.exp(-9 / 2))
    weights /= weights.sum(1, keepdims=True)
    expected = np.einsum("oj,bijc->bcio", weights, row / 255)
    close(sample(row, 1, count, method=3, sigma=sigma), expected)
    column = row.transpose(0, 2, 1, 3)
    close(sample(column, count, 1, method=3, sigma=sigma), expected.transpose(0, 1, 3, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_frames_of_every_kind(dtype, layout, color):
    rgb = picture(9, 7, batch=2, dtype=dtype)
    frame = rgb if color == "rgb" else rgb[..., ::-1]
    attributes: dict[str, Any] = {"frame_range": 255 if dtype == np.uint8 else 1}
    if color == "bgr":
        attributes["frame_channels"] = [2, 1, 0]
    if layout == "CHW":
        frame = frame.transpose(0, 3, 1, 2)
        attributes["frame_perm"] = [0, 1, 2, 3]
    result = sample(np.ascontiguousarray(frame), 4, 3, [9, 4], [7, 3], **attributes)
    close(result, linear(planes(rgb), 4, 3))


def test_samples_are_normalised_and_of_the_type_asked_for():
    frame = picture(6, 8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = (linear(planes(frame), 3, 4) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    close(sample(frame, 3, 4, mean=mean, std=std), expected)
    half = sample(frame, 3, 4, mean=mean, std=std, type=TensorProto.FLOAT16)
    assert half.dtype == np.float16
    close(half, expected.half())


@pytest.mark.slow
def test_positions_are_exact_at_8k():
    """A ramp over the columns sampled at a third of a pixel: float32 coordinates would be off by 1e-3 pixels."""
    width = 7680
    ramp = np.broadcast_to((np.arange(width, dtype=np.float32) % 2)[None, None, :, None], (1, 1, width, 3)).copy()
    centers = np.clip((2 * np.arange(width) + 1) * 1667 / (2 * 1670) - 0.5, 0, width - 1)
    left = np.floor(centers).astype(int)
    share = centers - left
    right = np.minimum(left + 1, width - 1)
    expected = ramp[0, 0, left, 0] * (1 - share) + ramp[0, 0, right, 0] * share
    close(sample(ramp, 1, width, [1, 1], [1667, 1670], frame_range=1)[0, 0, 0], expected, 1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Sinks


def sinks(fgr, pha, background=BLACK):
    """What the four sinks should hold, float, NCHW, from values before the clamp."""
    fgr, pha = fgr.clamp(0, 1).nan_to_num(0), pha.clamp(0, 1).nan_to_num(0)
    backdrop = linear(background, *fgr.shape[2:])
    return {
        "fgr": fgr,
        "pha": pha,
        "rgba": torch.cat([fgr, pha], 1),
        "composite": fgr * pha + backdrop * (1 - pha),
    }


def guided(frame, A, b):
    x = planes(frame)
    y = linear(A, *x.shape[2:]) * torch.cat([x, x.mean(1, keepdim=True)], 1) + linear(b, *x.shape[2:])
    return y[:, :3] + x, y[:, 3:]


FLOAT_PLANES = {"matte_perm": [0, 1, 2, 3], "matte_range": 1, "matte_type": TensorProto.FLOAT}


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 2])
def test_guided_upsample(height, width, batch):
    frame = picture(height, width, batch)
    inputs = {"frame": frame, "A": maps(4, 5, 9, batch), "b": maps(4, 5, 9, batch)}
    background = random.random((1, 3, 4, 6), np.float32)
    results = run("GuidedUpsample", {**inputs, "background": background}, **FLOAT_PLANES)
    fgr, pha = guided(**inputs)
    for name, expected in sinks(fgr, pha, background).items():
        close(results[name], expected)


def test_guided_upsample_of_zero_slopes_adds_b():
    frame, b = picture(7, 5), maps(4, 7, 5)
    results = run(
        "GuidedUpsample", {"frame": frame, "A": np.zeros_like(b), "b": b, "background": BLACK}, **FLOAT_PLANES
    )
    close(results["fgr"], (planes(frame) + torch.from_numpy(b[:, :3])).clamp(0, 1), 0)
    close(results["pha"], b[:, 3:].clip(0, 1), 0)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_every_sink_in_every_form(layout, color, dtype):
    frame = picture(11, 6, batch=2)
    inputs = {"frame": frame, "A": maps(4, 3, 2, 2), "b": maps(4, 3, 2, 2)}
    background = random.random((2, 3, 11, 6), np.float32)
    results = run(
        "GuidedUpsample",
        {**inputs, "background": background},
        matte_perm=[0, 2, 3, 1] if layout == "HWC" else [0, 1, 2, 3],
        matte_channels=[0, 1, 2] if color == "rgb" else [2, 1, 0],
        matte_range=255 if dtype == np.uint8 else 1,
        matte_type=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
    )
    fgr, pha = guided(**inputs)
    for name, value in sinks(fgr, pha, background).items():
        value = value.numpy()
        if color == "bgr" and name != "pha":
            value = np.concatenate([value[:, 2::-1], value[:, 3:]], 1)
        if layout == "HWC":
            value = value.transpose(0, 2, 3, 1)
        assert results[name].dtype == dtype
        if dtype == np.uint8:
            steps = np.abs(results[name].astype(int) - np.round(value * 255).astype(int))
            assert steps.max() <= 1
            assert (steps == 0).mean() >= 0.995
        else:
            close(results[name].astype(np.float32), value, 1e-3 if dtype == np.float16 else 5e-6)


def test_halves_are_rounded_to_even():
    alpha = (np.array([0.5, 1.5, 2.5, 3.5], np.float32) / 255).reshape(1, 1, 1, 4)
    exact = [value for value in alpha.ravel() if np.float32(value * np.float32(255)) % 1 == 0.5]
    assert exact
    inputs = {"frame": picture(1, 4), "alpha": alpha, "colours": no_colours(), "background": BLACK}
    pha = run("MatteUpsample", inputs, ["pha"])["pha"]
    assert pha.ravel().tolist() == np.round(alpha.ravel() * np.float32(255)).astype(int).tolist()


@pytest.mark.parametrize("wanted", [["pha"], ["composite"], ["fgr", "pha"]])
def test_outputs_may_be_left_out(wanted):
    inputs = {"frame": picture(5, 4), "A": maps(4, 2, 2), "b": maps(4, 2, 2), "background": BLACK}
    everything = run("GuidedUpsample", inputs)
    some = run("GuidedUpsample", inputs, wanted)
    assert list(some) == wanted
    for name in wanted:
        np.testing.assert_array_equal(some[name], everything[name])


@pytest.mark.parametrize(("height", "width", "batch"), [(1, 1, 1), (1, 1, 2), (3, 20, 1), (11, 6, 2)])
def test_backgrounds_of_any_size_and_batch(height, width, batch):
    frame, alpha = picture(11, 6, batch=2), random.random((2, 1, 11, 6), np.float32)
    background = random.random((batch, 3, height, width), np.float32)
    inputs = {"frame": frame, "alpha": alpha, "colours": no_colours(2), "background": background}
    result = run("MatteUpsample", inputs, **FLOAT_PLANES)
    close(result["composite"], sinks(planes(frame), torch.from_numpy(alpha), background)["composite"])


def test_what_is_not_a_number_becomes_zero():
    frame, b = picture(4, 4), maps(4, 4, 4)
    b[0, 3, 1, 2] = np.nan
    b[0, 0, 3, 3] = np.nan
    background = np.full((1, 3, 1, 1), 0.75, np.float32)
    inputs = {"frame": frame, "A": np.zeros_like(b), "b": b, "background": background}
    result = run("GuidedUpsample", inputs, **FLOAT_PLANES)
    assert result["pha"][0, 0, 1, 2] == 0
    assert result["fgr"][0, 0, 3, 3] == 0
    close(result["composite"][0, :, 1, 2], [0.75] * 3)
    assert not any(np.isnan(value).any() for value in result.values())


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_matte_upsample(height, width, method, kind):
    frame, alpha = picture(height, width, batch=2), maps(1, 8, 12, batch=2).astype(kind)
    big = F.interpolate(torch.from_numpy(alpha.astype(np.float32)), (height, width), mode="area")
    big = big if method == "area" else linear(alpha.astype(np.float32), height, width)
    background = random.random((2, 3, 5, 5), np.float32)
    inputs = {"frame": frame, "alpha": alpha, "colours": no_colours(2), "background": background}
    result = run("MatteUpsample", inputs, method=["linear", "area"].index(method), **FLOAT_PLANES)
    for name, expected in sinks(planes(frame), big, background).items():
        close(result[name], expected)


# ---------------------------------------------------------------------------------------------------------------------
# Patches


def select(err, height=None, width=None, capacity=None, **attributes):
    height, width = height or err.shape[2], width or err.shape[3]
    capacity = capacity or len(err) * height * width
    result = run("PatchSelect", {"err": err}, height=height, width=width, capacity=capacity, **attributes)
    return result["indices"], int(result["count"][0]), result["ref"]


def agree(indices, count, ref):
    """The three outputs of a selection that fits tell the same story."""
    expected = np.argwhere(ref[:, 0])
    assert count == len(expected)
    np.testing.assert_array_equal(indices[:count], expected)
    assert (indices[count:] == -1).all()


@pytest.mark.parametrize("k", [1, 10, 100, 12 * 17])
def test_the_k_largest_of_each_image(k):
    err = random.random((2, 1, 12, 17), np.float32)
    indices, count, ref = select(err, k=k)
    agree(indices, count, ref)
    for image in range(2):
        best = torch.from_numpy(err[image]).flatten().topk(k).indices
        assert set(np.flatnonzero(ref[image])) == set(best.tolist())


def test_more_than_all_selects_all():
    _, count, ref = select(random.random((1, 1, 3, 4), np.float32) + 0.1, k=1000)
    assert count == 12
    assert ref.all()


def test_of_equal_errors_the_first_in_reading_order_is_taken():
    err = np.zeros((1, 1, 4, 5), np.float32)
    err[0, 0, 1:3] = 1
    indices, count, ref = select(err, k=7)
    agree(indices, count, ref)
    assert np.flatnonzero(ref).tolist() == [5, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize(("prevent", "expected"), [(1, [3]), (0, [0, 1, 3])])
def test_oversampling(prevent, expected):
    err = np.zeros((1, 1, 2, 4), np.float32)
    err[0, 0, 0, 3] = 0.5
    indices, count, ref = select(err, k=3, prevent_oversampling=prevent)
    agree(indices, count, ref)
    assert np.flatnonzero(ref).tolist() == expected


def test_thresholds_are_strict():
    err = np.array([0.1, 0.25, 0.2500001, 1, 0, np.nan], np.float32).reshape(1, 1, 2, 3)
    indices, count, ref = select(err, mode=1, threshold=0.25)
    agree(indices, count, ref)
    assert np.flatnonzero(ref).tolist() == [2, 3]


@pytest.mark.parametrize("attributes", [{"mode": 1, "threshold": 0.5}, {"mode": 0, "k": 5}])
def test_none_selected(attributes):
    indices, count, ref = select(np.zeros((2, 1, 4, 4), np.float32), **attributes)
    agree(indices, count, ref)
    assert count == 0


def test_the_full_mode_selects_everything():
    indices, count, ref = select(np.zeros((2, 1, 3, 5), np.float32), mode=1, threshold=-1)
    agree(indices, count, ref)
    assert count == 30


def test_what_is_not_a_number_is_the_smallest():
    err = np.array([np.nan, 0.1, 0.0, 0.3], np.float32).reshape(1, 1, 2, 2)
    _, _, ref = select(err, k=3, prevent_oversampling=0)
    assert np.flatnonzero(ref).tolist() == [1, 2, 3]


def test_beyond_the_capacity_the_first_are_kept():
    err = random.random((2, 1, 5, 5), np.float32) + 0.01
    indices, count, ref = select(err, k=8, capacity=11)
    assert count == 16
    np.testing.assert_array_equal(indices, np.argwhere(ref[:, 0])[:11])


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_error_is_sampled_to_the_grid(kind):
    err = random.random((2, 1, 9, 14), np.float32).astype(kind)
    indices, count, ref = select(err, 5, 6, mode=1, threshold=0.5)
    agree(indices, count, ref)
    np.testing.assert_array_equal(ref, linear(err.astype(np.float32), 5, 6) > 0.5)


def unfold(x, side, stride, pad):
    """All squares of a picture, [B,h,w,C,side,side]."""
    padded = F.pad(x, (pad,) * 4)
    return padded.unfold(2, side, stride).unfold(3, side, stride).permute(0, 2, 3, 1, 4, 5)


@pytest.mark.parametrize("kernel", [3, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_patches_are_cut_where_unfold_cuts_them(kernel, dtype):
    src, bgr = picture(16, 24, 2, dtype), picture(16, 24, 2, dtype)
    small = maps(36, 5, 7, batch=2)
    indices = np.array([[0, 0, 0], [0, 3, 5], [1, 2, 1], [-1, -1, -1], [1, 0, 5]], np.int32)
    attributes = {"kernel": kernel, "frame_range": 255 if dtype == np.uint8 else 1}
    result = run("PatchCrop", {"maps": small, "src": src, "bgr": bgr, "indices": indices}, **attributes)

    x6 = torch.cat([planes(src), planes(bgr)], 1)
    half = torch.cat([linear(small, 8, 12), linear(x6, 8, 12)], 1)
    expected_half = unfold(half, *((8, 2, 3) if kernel == 3 else (2, 2, 0)))
    expected_full = unfold(x6, *((8, 4, 2) if kernel == 3 else (4, 4, 0)))
    for patch, (image, row, column) in enumerate(indices):
        if image < 0:
            assert not result["half"][patch].any()
            assert not result["full"][patch].any()
        else:
            close(result["half"][patch], expected_half[image, row, column])
            close(result["full"][patch], expected_full[image, row, column])


def test_patches_can_be_float16():
    inputs = {"maps": maps(36, 2, 2), "src": picture(8, 8), "bgr": picture(8, 8)}
    indices = np.array([[0, 1, 1]], np.int32)
    result = run("PatchCrop", {**inputs, "indices": indices}, type=TensorProto.FLOAT16)
    assert result["half"].dtype == result["full"].dtype == np.float16


def test_patches_replace_the_canvas():
    frame, coarse = picture(12, 20, batch=2), maps(4, 5, 7, batch=2)
    patches = maps(4, 4, 4, batch=6)
    indices = np.array([[1, 2, 4], [0, 0, 0], [-1, -1, -1], [0, 1, 3], [0, 0, 0], [-1, -1, -1]], np.int32)
    background = random.random((1, 3, 2, 2), np.float32)
    inputs = {"coarse": coarse, "patches": patches, "indices": indices, "frame": frame, "background": background}
    result = run("PatchScatter", inputs, **FLOAT_PLANES)

    canvas = linear(coarse, 12, 20)
    for patch, (image, row, column) in zip(patches, indices, strict=True):
        if image >= 0:
            canvas[image, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = torch.from_numpy(patch)
    for name, expected in sinks(canvas[:, 1:] + planes(frame), canvas[:, :1], background).items():
        close(result[name], expected)


@pytest.mark.parametrize("count", [0, 3])
def test_no_patch_leaves_the_canvas(count):
    frame, coarse = picture(8, 8), maps(4, 2, 2)
    indices = np.full((count, 3), -1, np.int32)
    patches = np.full((count, 4, 4, 4), 0.5, np.float32)
    inputs = {"coarse": coarse, "patches": patches, "indices": indices, "frame": frame, "background": BLACK}
    result = run("PatchScatter", inputs, ["fgr", "pha"], **FLOAT_PLANES)
    canvas = linear(coarse, 8, 8)
    close(result["pha"], canvas[:, :1].clamp(0, 1))
    close(result["fgr"], (canvas[:, 1:] + planes(frame)).clamp(0, 1))


def test_of_patches_in_one_place_the_last_wins():
    count = 3000
    frame, coarse = picture(16, 16), maps(4, 4, 4)
    indices = np.stack([np.zeros(count), *random.integers(0, 4, (2, count))], 1).astype(np.int32)
    patches = np.broadcast_to(np.linspace(0, 1, count, dtype=np.float32)[:, None, None, None], (count, 4, 4, 4)).copy()
    inputs = {"coarse": coarse, "patches": patches, "indices": indices, "frame": frame, "background": BLACK}
    pha = run("PatchScatter", inputs, ["pha"], **FLOAT_PLANES)["pha"][0, 0]
    last = {(row, column): patches[number, 0, 0, 0] for number, (_, row, column) in enumerate(indices)}
    assert {(row, column): pha[4 * row, 4 * column] for row, column in last} == last


# ---------------------------------------------------------------------------------------------------------------------
# Nodes


@pytest.mark.parametrize("op", functions.OPS)
def test_bodies_are_flat_and_use_standard_operators_alone(op):
    body = functions.function(op)
    assert {each.domain for each in body.node} == {""}
    assert not {each.op_type for each in body.node} & {"If", "Loop", "Scan", "NonZero", "RoiAlign"}
    names = [name for each in body.node for name in each.output]
    assert len(names) == len(set(names))


FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
FRAME_INPUT, BACKDROP_INPUT = ("frame", FLOAT, [1, 32, 48, 3]), ("background", FLOAT, [1, 3, 1, 1])
STEPS = {"step_y": [4, 1], "step_x": [4, 1]}
FOR_TENSORRT: dict[str, Any] = {
    "ForegroundEstimate": ([FRAME_INPUT, ("alpha", FLOAT, [1, 1, 8, 12])], {}),
    "FrameSample": ([FRAME_INPUT], {"height": 8, "width": 12, **STEPS}),
    "GuidedUpsample": ([FRAME_INPUT, ("A", FLOAT, [1, 4, 8, 12]), ("b", FLOAT, [1, 4, 8, 12]), BACKDROP_INPUT], {}),
    "MatteUpsample": (
        [FRAME_INPUT, ("alpha", FLOAT, [1, 1, 8, 12]), ("colours", FLOAT, [1, 6, 128, 128]), BACKDROP_INPUT],
        {},
    ),
    "PatchSelect": ([("err", FLOAT, [1, 1, 9, 13])], {"height": 8, "width": 12, "k": 9, "capacity": 5}),
    "PatchCrop": (
        [
            ("maps", FLOAT, [1, 36, 8, 12]),
            FRAME_INPUT,
            ("bgr", FLOAT, [1, 32, 48, 3]),
            ("indices", INT32, [5, 3]),
        ],
        {},
    ),
    "PatchScatter": (
        [
            ("coarse", FLOAT, [1, 4, 8, 12]),
            ("patches", FLOAT, [5, 4, 4, 4]),
            ("indices", INT32, [5, 3]),
            FRAME_INPUT,
            BACKDROP_INPUT,
        ],
        {},
    ),
}


@pytest.mark.parametrize("op", functions.OPS)
def test_tensorrt_parses_the_bodies(op):
    """Bytes are known to it at the edges of a graph alone, hence mattes in float."""
    tensorrt = pytest.importorskip("tensorrt_rtx")
    inputs, attributes = FOR_TENSORRT[op]
    if "matte_type" in functions.OPS[op].attributes:
        attributes = {**attributes, "matte_type": FLOAT}
    model = functions.model(op, inputs, list(functions.OPS[op].outputs), **attributes)
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, builder.logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()


def test_nodes_say_which_plugin_they_are():
    proto = functions.node(
        "MatteUpsample", ["frame", "alpha", "colours", "background"], [name if name == "pha" else "" for name in SINKS]
    )
    attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
    assert (proto.op_type, proto.domain) == ("TrtMatteMatteUpsample", "trtmatte")
    assert (attributes["plugin_namespace"], attributes["plugin_version"]) == (b"trtmatte", b"1")
    assert attributes["frame_perm"] == [0, 3, 1, 2]


def test_attributes_have_the_type_that_the_body_reads():
    proto = functions.node("PatchSelect", ["err"], ["i", "c", "r"], height=2, width=3, capacity=4, threshold=-1)
    assert next(each for each in proto.attribute if each.name == "threshold").f == -1.0


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("FrameSmaple", ["frame"], {}, "not an op"),
        ("PatchSelect", ["err", "more"], {}, "inputs err, but 2"),
        ("PatchSelect", ["err"], {"heigth": 1}, "no attribute heigth"),
        ("PatchSelect", ["err"], {"height": 1}, "needs the attribute capacity, width"),
        ("PatchSelect", ["err"], {"height": [1], "width": 1, "capacity": 1}, "height is .* expected int"),
    ],
)
def test_wrong_nodes_are_refused(op, inputs, attributes, message):
    outputs = list(functions.OPS[op].outputs) if op in functions.OPS else []
    with pytest.raises(ModelError, match=message):
        functions.node(op, inputs, outputs, **attributes)
