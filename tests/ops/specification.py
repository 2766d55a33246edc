"""The function body of an op, run by ONNX Runtime, and how closely the native forms must follow it."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import PIL
from onnx import helper
from PIL import Image

from trtmatte import ops
from trtmatte.compiler.graph import functions
from trtmatte.format.outputs import MATTE_OUTPUTS

METHODS = ("linear", "area", "antialias", "gaussian", "lanczos", "bicubic")
SIZES = [(1, 1), (7, 5), (149, 251), (480, 270), (1080, 1920), (2160, 3840)]
PATCH_SIZES = [(4, 4), (8, 4), (148, 252), (480, 272), (1080, 1920), (2160, 3840)]
SINKS = MATTE_OUTPUTS

# ---------------------------------------------------------------------------------------------------------------------
# Running


def session(
    op: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = (), threads: int = 0, **attributes: Any
):
    """An ONNX Runtime session of one op for inputs of these types, of any size; without `outputs` it computes all."""
    kinds = tuple((name, value.dtype.str, value.ndim) for name, value in inputs.items())
    frozen = tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in sorted(attributes.items()))
    return _session(op, kinds, tuple(outputs), threads, frozen)


@functools.lru_cache(maxsize=64)
def _session(op: str, kinds: tuple, outputs: tuple[str, ...], threads: int, attributes: tuple):
    known = functions.OPS[op].outputs
    infos = [
        (name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [f"{name}_{axis}" for axis in range(rank)])
        for name, kind, rank in kinds
    ]
    wanted = [name if name in outputs or not outputs else "" for name in known]
    model = functions.model(op, infos, wanted, **dict(attributes))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


_results: OrderedDict[tuple, dict[str, np.ndarray]] = OrderedDict()


def run(op: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = (), **attributes: Any):
    """The op's outputs by name. The latest are kept, as every device asks for the same."""
    arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
    key = (op, tuple(outputs), repr(attributes), *((v.dtype, v.shape, hash(v.tobytes())) for v in arrays.values()))
    if key not in _results:
        body = session(op, arrays, outputs, **attributes)
        names = [each.name for each in body.get_outputs()]
        _results[key] = dict(zip(names, body.run(None, arrays), strict=True))
        if len(_results) > 4:
            _results.popitem(last=False)
    return _results[key]


# ---------------------------------------------------------------------------------------------------------------------
# Comparing

MEAN, MOST = 2e-6, 5e-5  # float32, of the range: what float32 coordinates cost at 4K


def agree(actual: np.ndarray, expected: np.ndarray, scale: float = 1.0, what: str = "") -> None:
    """Both within the tolerance of their type; `scale` is the range of the values."""
    assert actual.shape == expected.shape, what
    assert actual.dtype == expected.dtype, what
    difference = np.abs(actual.astype(np.float32) - expected.astype(np.float32))
    assert not np.isnan(difference).any(), what
    if actual.dtype == np.uint8:
        assert difference.max() <= 1, what
        assert (difference == 0).mean() >= 0.995, what
    elif actual.dtype == np.float16:
        # Both were rounded. A float32 difference, however small, can make that a whole step of float16, rarely.
        step = np.spacing(np.maximum(np.abs(actual), np.abs(expected))).astype(np.float32)
        assert (difference <= step + MOST * scale).all(), what
        assert (difference <= MOST * scale).mean() >= 0.98, what
    else:
        assert difference.mean(dtype=np.float64) <= MEAN * scale, what
        assert difference.max() <= MOST * scale, what


def agree_in_steps(actual: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    """Both were rounded to steps of `scale / 255`: nearly all are equal, and a sum near a half may be one step off."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = np.abs(actual.astype(np.float32) - expected.astype(np.float32)) * np.float32(255 / scale)
    slack = 0.5 if actual.dtype == np.float16 else 0.01
    assert difference.max() <= 1 + slack
    assert (difference > slack).sum() <= max(1, 0.001 * difference.size)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures and maps


def picture(height: int, width: int, batch: int | None = None, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """Noise, HWC, RGB: every neighbour tells."""
    shape = (height, width, 3) if batch is None else (batch, height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return pixels if dtype == np.uint8 else (pixels / np.float32(255)).astype(dtype)


def maps(channels: int, height: int, width: int, batch: int = 1, dtype: Any = np.float32, seed: int = 1) -> np.ndarray:
    """Noise in -0.3…1.3, so that clamps have something to do."""
    noise = np.random.default_rng(seed).random((batch, channels, height, width), np.float32)
    return (noise * np.float32(1.6) - np.float32(0.3)).astype(dtype)


def laid(frame: np.ndarray, layout: str = "HWC", color: str = "rgb") -> np.ndarray:
    """An HWC, RGB picture in another order."""
    frame = frame if color == "rgb" else frame[..., ::-1]
    return np.ascontiguousarray(frame if layout == "HWC" else np.moveaxis(frame, -1, -3))


def no_colours(batch: int = 1) -> np.ndarray:
    """What the body of MatteUpsample takes for no colours."""
    return np.zeros((batch, 6, 1, 1), np.float32)


def batched(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 4 else frame[None]


def resized_by_pillow(pixels: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Bytes in the order of Pillow 13. Earlier versions always begin with the rows."""
    filters = Image.Resampling[method.upper()]
    (height, width), lower = pixels.shape[:2], pixels.shape[0] - size[0]
    between = (width, size[0]) if lower > max(0, 2 * (width - size[1])) else (size[1], height)
    resized = Image.fromarray(pixels).resize(between, filters).resize(size[::-1], filters)
    if int(PIL.__version__.split(".")[0]) >= 13:
        assert resized == Image.fromarray(pixels).resize(size[::-1], filters)
    return np.asarray(resized).astype(int)


def planes(frame: np.ndarray) -> np.ndarray:
    """An HWC, RGB picture as the bodies want a background."""
    x = batched(frame).astype(np.float32).transpose(0, 3, 1, 2)
    return x / np.float32(255) if frame.dtype == np.uint8 else x


@dataclass(frozen=True)
class Memory:
    """How a picture may lie in somebody's memory: a view of a buffer."""

    shape: Callable[[tuple[int, ...]], tuple[int, ...]]  # of the buffer, for a picture's (H, W, C)
    view: Callable[[Any], Any]  # from the buffer to the picture

    def buffer(self, picture: np.ndarray) -> np.ndarray:
        """A buffer that holds the picture; everything else in it is 77."""
        buffer = np.full(self.shape(picture.shape), 77, picture.dtype)
        self.view(buffer)[...] = picture
        return buffer


PACKED = Memory(lambda shape: shape, lambda buffer: buffer)
MEMORIES = {
    "packed": PACKED,
    "crop": Memory(lambda s: (s[0] + 5, s[1] + 4, s[2]), lambda m: m[2:-3, 1:-3]),
    "padded rows": Memory(lambda s: (s[0], s[1] + 7, s[2]), lambda m: m[:, :-7]),
    "upside down": Memory(lambda s: s, lambda m: m[::-1]),
    "mirrored": Memory(lambda s: s, lambda m: m[:, ::-1]),
    "every second pixel": Memory(lambda s: (2 * s[0], 2 * s[1], s[2]), lambda m: m[::2, ::2]),
    "planes": Memory(lambda s: (s[2], s[0], s[1]), lambda m: m.transpose(1, 2, 0)),
    "turned": Memory(lambda s: (s[1], s[0], s[2]), lambda m: m.transpose(1, 0, 2)),
    "four channels": Memory(lambda s: (s[0], s[1], s[2] + 1), lambda m: m[..., :-1]),
    "channels backwards": Memory(lambda s: s, lambda m: m[..., ::-1]),
    "five pixels between rows": Memory(lambda s: (s[0], s[1] + 5, s[2]), lambda m: m[:, :-5]),
}


# ---------------------------------------------------------------------------------------------------------------------
# Attributes


def frame_attributes(dtype: Any, layout: str = "HWC", color: str = "rgb") -> dict[str, Any]:
    return {
        "frame_perm": [0, 3, 1, 2] if layout == "HWC" else [0, 1, 2, 3],
        "frame_channels": [0, 1, 2] if color == "rgb" else [2, 1, 0],
        "frame_range": 255 if dtype == np.uint8 else 1,
    }


def matte_attributes(dtype: Any, layout: str = "HWC", color: str = "rgb") -> dict[str, Any]:
    return {
        "matte_perm": [0, 2, 3, 1] if layout == "HWC" else [0, 1, 2, 3],
        "matte_channels": [0, 1, 2] if color == "rgb" else [2, 1, 0],
        "matte_range": 255 if np.dtype(dtype) == np.uint8 else 1,
        "matte_type": int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The three ops that end in a matte

NATIVE: dict[str, Any] = {
    "GuidedUpsample": ops.guided_upsample,
    "MatteUpsample": ops.matte_upsample,
    "PatchScatter": ops.patch_scatter,
}


def check_matte(
    device: Any,
    op: str,
    frame: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    *,
    outputs: Sequence[str] = SINKS,
    dtype: str = "uint8",
    layout: str = "HWC",
    color: str = "rgb",
    background: np.ndarray | None = None,
    memory: Memory = PACKED,
    method: str | None = None,
) -> None:
    """Native form against body. Pictures are given HWC and RGB, and passed in `layout` and `color`; a frame without a
    batch, and its outputs, lie in `memory`, whose other bytes must stay as they are."""
    if "composite" in outputs and background is None:
        background = np.array([[[0.2, 0.5, 0.9]]], np.float32)
    front = batched(frame)
    body_inputs = {"frame": laid(front, layout, color), "colours": no_colours(len(front)), **inputs}
    behind = np.zeros((1, 1, 3), np.float32) if background is None else background
    expected = run(
        op,
        {name: {**body_inputs, "background": planes(behind)}[name] for name in functions.OPS[op].inputs},
        outputs,
        **frame_attributes(frame.dtype, layout, color),
        **matte_attributes(dtype, layout, color),
        **({} if method is None else {"method": METHODS.index(method)}),
    )

    is_batch = frame.ndim == 4
    buffers = {
        name: memory.buffer(np.full(value.shape if is_batch else value.shape[1:], 77, value.dtype))
        for name, value in expected.items()
    }
    held = {name: device.put(buffer) for name, buffer in buffers.items()}
    extra: dict[str, Any] = {} if method is None else {"method": method}
    if op == "PatchScatter":
        batch, height, width = batched(frame).shape[:3]
        extra["workspace"] = device.workspace(ops.patch_scatter_workspace(batch, height, width))
    NATIVE[op](
        frame=memory.view(device.put(memory.buffer(laid(frame, layout, color)))),
        **{name: device.put(value) for name, value in inputs.items()},
        outputs=tuple(expected),
        background=None if background is None else device.put(laid(background, "HWC", color)),
        layout=layout,
        frame_layout=layout,
        color=color,
        out={name: memory.view(buffer) for name, buffer in held.items()},
        cuda_stream=device.stream,
        **extra,
    )
    for name, value in expected.items():
        result = device.get(held[name])
        agree(batched(memory.view(result)) if not is_batch else memory.view(result), value, what=name)
        memory.view(buffers[name])[...] = memory.view(result)
        np.testing.assert_array_equal(result, buffers[name], f"{name}: something else in its memory was written")
