"""The seven ops in Python: arrays in, arrays out, on the CPU or on a CUDA stream.

`docs/ops.md` says what each computes. Arrays may be numpy, torch, CuPy, PIL images or anything else with the buffer
protocol, DLPack, `__array_interface__` or `__cuda_array_interface__`; they are read and written where they are. On the
CPU missing outputs are allocated; on a CUDA device the caller gives all outputs, the workspace where there is one, and
the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from trtmatte import _core
from trtmatte.errors import FrameError, SettingError
from trtmatte.format.outputs import CHANNELS, DTYPES, LAYOUTS
from trtmatte.support.renamed import notice

Array = Any  # anything that speaks one of the array protocols
Layout = Literal["HWC", "CHW"]
Color = Literal["rgb", "bgr"]
Output = str  # a name of `trtmatte.format.outputs`

_LEGACY_STREAM = 1  # CUDA's default stream, which torch and CuPy call 0


def frame_sample(
    frame: Array,
    height: int,
    width: int,
    *,
    step_y: Fraction | None = None,
    step_x: Fraction | None = None,
    method: str = "linear",
    sigma: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    dtype: str = "float32",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    out: Array | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> Array:
    """The small, normalised tensor `[N,3,height,width]` that a network sees."""
    if out is None:
        batch = _size(frame, frame_layout)[0]
        out = _empty((batch, 3, _positive("height", height), _positive("width", width)), _float_type(dtype))
    _core.frame_sample(
        frame,
        out,
        step_y=_pair(step_y),
        step_x=_pair(step_x),
        method=method,
        sigma=sigma,
        mean=_three("mean", mean),
        std=_three("std", std),
        frame_layout=frame_layout or "",
        color=color,
        cuda_stream=_stream(cuda_stream, stream),
    )
    return out


def foreground_estimate(
    frame: Array,
    alpha: Array,
    *,
    dtype: str = "float32",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    out: Array | None = None,
    workspace: Array | None = None,
    cuda_stream: Any = None,
) -> Array:
    """Smooth colours of the foreground and of the background behind it, for `matte_upsample`: `[N,6,128,128]`."""
    if out is None:
        batch = _size(frame, frame_layout)[0]
        out = _empty((batch, 6, 128, 128), _float_type(dtype))
    _core.foreground_estimate(
        frame,
        alpha,
        out,
        frame_layout=frame_layout or "",
        color=color,
        workspace=workspace,
        cuda_stream=stream_handle(cuda_stream),
    )
    return out


def guided_upsample(
    frame: Array,
    A: Array,
    b: Array,
    *,
    outputs: Sequence[Output] = ("fgr", "pha"),
    background: Array | None = None,
    dtype: str = "uint8",
    layout: Layout = "HWC",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    out: Mapping[str, Array] | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> tuple[Array, ...]:
    """RVM's refiner: the matte of a frame from the small maps A and b. Returns the outputs in the order asked for."""
    options = (outputs, background, dtype, layout, frame_layout, color, out, _stream(cuda_stream, stream))
    return _write_matte(_core.guided_upsample, (frame, A, b), frame, *options)


def matte_upsample(
    frame: Array,
    alpha: Array,
    colours: Array | None = None,
    *,
    method: str = "linear",
    outputs: Sequence[Output] = ("fgr", "pha"),
    background: Array | None = None,
    dtype: str = "uint8",
    layout: Layout = "HWC",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    out: Mapping[str, Array] | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> tuple[Array, ...]:
    """The matte of a frame from a small alpha. Returns the outputs in the order asked for.

    `colours` are those of `foreground_estimate`; without them the foreground has the frame's own.
    """
    options = (outputs, background, dtype, layout, frame_layout, color, out, _stream(cuda_stream, stream))
    return _write_matte(_core.matte_upsample, (frame, alpha, colours), frame, *options, method=method)


def patch_select(
    err: Array,
    height: int,
    width: int,
    *,
    mode: str = "sampling",
    k: int = 1,
    threshold: float = 0.1,
    prevent_oversampling: bool = True,
    capacity: int | None = None,
    indices: Array | None = None,
    count: Array | None = None,
    ref: Array | None = None,
    workspace: Array | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> tuple[Array, Array, Array]:
    """Select the patches to refine on a grid of `height` × `width`: `(indices, count, ref)`.

    `capacity` is the room for indices; left out, the largest possible number.
    """
    if indices is None or count is None or ref is None:
        batch = _batch_of_maps(err)
        grid = _positive("height", height) * _positive("width", width)
        most = batch * (_positive("k", k) if mode == "sampling" else grid)
        room = most if capacity is None else _positive("capacity", capacity)
        indices = _empty((room, 3), np.int32) if indices is None else indices
        count = _empty((1,), np.int32) if count is None else count
        ref = _empty((batch, 1, height, width), np.float32) if ref is None else ref
    _core.patch_select(
        err,
        indices,
        count,
        ref,
        rows=height,
        columns=width,
        mode=mode,
        k=k,
        threshold=threshold,
        prevent_oversampling=prevent_oversampling,
        workspace=workspace,
        cuda_stream=_stream(cuda_stream, stream),
    )
    return indices, count, ref


def patch_crop(
    maps: Array,
    src: Array,
    bgr: Array,
    indices: Array,
    *,
    kernel: int = 3,
    dtype: str = "float32",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    half: Array | None = None,
    full: Array | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> tuple[Array, Array]:
    """Cut the patches that the refiner reads: `half` from the half-resolution picture, `full` from the frames."""
    if half is None or full is None:
        patches, channels = _shape("indices", indices)[0], _shape("maps", maps)[-3]
        half_side, full_side = (8, 8) if kernel == 3 else (2, 4)
        kind = _float_type(dtype)
        half = _empty((patches, channels + 6, half_side, half_side), kind) if half is None else half
        full = _empty((patches, 6, full_side, full_side), kind) if full is None else full
    _core.patch_crop(
        maps,
        src,
        bgr,
        indices,
        half,
        full,
        kernel=kernel,
        frame_layout=frame_layout or "",
        color=color,
        cuda_stream=_stream(cuda_stream, stream),
    )
    return half, full


def patch_scatter(
    coarse: Array,
    patches: Array,
    indices: Array,
    frame: Array,
    *,
    outputs: Sequence[Output] = ("fgr", "pha"),
    background: Array | None = None,
    dtype: str = "uint8",
    layout: Layout = "HWC",
    frame_layout: Layout | None = None,
    color: Color = "rgb",
    out: Mapping[str, Array] | None = None,
    workspace: Array | None = None,
    cuda_stream: Any = None,
    stream: Any = None,  # an old name of `cuda_stream`
) -> tuple[Array, ...]:
    """The matte of a frame from coarse maps and refined patches. Returns the outputs in the order asked for."""
    options = (outputs, background, dtype, layout, frame_layout, color, out, _stream(cuda_stream, stream))
    return _write_matte(_core.patch_scatter, (coarse, patches, indices, frame), frame, *options, workspace=workspace)


def foreground_estimate_workspace() -> int:
    """The size in bytes of the workspace that `foreground_estimate` needs on a CUDA device."""
    return _core.foreground_estimate_workspace()


def patch_select_workspace(batch: int, height: int, width: int) -> int:
    """The size in bytes of the workspace that `patch_select` needs on a CUDA device."""
    return _core.patch_select_workspace(batch, height, width)


def patch_scatter_workspace(batch: int, height: int, width: int) -> int:
    """The size in bytes of the workspace that `patch_scatter` needs on a CUDA device, for a frame of this size."""
    return _core.patch_scatter_workspace(batch, height, width)


def stream_handle(stream: Any) -> int | None:
    """The number behind a CUDA stream of cuda.core, torch, CuPy or PyCUDA; numbers and None pass."""
    if stream is None:
        return None
    if isinstance(stream, int):
        return stream or _LEGACY_STREAM
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        return int((protocol() if callable(protocol) else protocol)[1]) or _LEGACY_STREAM
    for name in ("cuda_stream", "ptr", "handle"):  # torch, CuPy, PyCUDA
        if hasattr(stream, name):
            return int(getattr(stream, name)) or _LEGACY_STREAM
    raise SettingError(
        f"cuda_stream is a {type(stream).__name__}; expected an object with __cuda_stream__, or a number"
    )


def _stream(cuda_stream: Any, stream: Any) -> int | None:
    """The number of the CUDA stream, which callers may still give by its old name."""
    if stream is not None and cuda_stream is None:
        notice("stream", "cuda_stream")
        return stream_handle(stream)
    return stream_handle(cuda_stream)


def _write_matte(
    op: Callable[..., None],
    arrays: Sequence[Array],
    frame: Array,
    outputs: Sequence[str],
    background: Array | None,
    dtype: str,
    layout: str,
    frame_layout: str | None,
    color: str,
    out: Mapping[str, Array] | None,
    cuda_stream: int | None,
    **own: Any,
) -> tuple[Array, ...]:
    """Call an op that writes a matte, with its own keywords. Returns the outputs in the order asked for."""
    matte = _matte_arrays(frame, outputs, dtype, layout, frame_layout, out)
    op(
        *arrays,
        out=matte,
        background=_picture(background),
        frame_layout=frame_layout or "",
        layout=layout,
        color=color,
        cuda_stream=cuda_stream,
        **own,
    )
    # From a list: a tuple that grows from a generator leaves its first, larger block behind, frame by frame.
    return tuple([matte[name] for name in outputs])


def _matte_arrays(
    frame: Array,
    outputs: Sequence[str],
    dtype: str,
    layout: str,
    frame_layout: str | None,
    out: Mapping[str, Array] | None,
) -> dict[str, Array]:
    """One array for each output: the caller's, or a new one."""
    given = dict(out or {})
    for name in (*outputs, *given):
        if name not in CHANNELS:
            raise SettingError(f"output is {name!r}; expected one of {', '.join(CHANNELS)}")
    if unasked := given.keys() - set(outputs):
        raise SettingError(f"out has {', '.join(sorted(unasked))}, which outputs={tuple(outputs)} does not ask for")
    if len(given) == len(outputs):
        return given
    if not _on_host(frame):
        missing = [name for name in outputs if name not in given]
        raise FrameError(f"out lacks {', '.join(missing)}; on a CUDA device every output is the caller's")
    if layout not in LAYOUTS:
        raise SettingError(f"layout is {layout!r}; expected 'HWC' or 'CHW'")
    if dtype not in DTYPES:
        raise SettingError(f"dtype is {dtype!r}; expected 'uint8', 'float16' or 'float32'")
    batch, height, width = _size(frame, frame_layout)
    front = (batch,) if len(_shape("frame", frame)) == 4 else ()
    for name in outputs:
        if name not in given:
            size = (height, width, CHANNELS[name]) if layout == "HWC" else (CHANNELS[name], height, width)
            given[name] = _empty(front + size, dtype)
    return given


def _shape(name: str, array: Array) -> tuple[int, ...]:
    """The shape of any array, as the core reads it."""
    shape = array.shape if type(array) is np.ndarray else tuple(_core.read(array, name).shape)
    if len(shape) < 2:
        raise FrameError(f"{name} has the shape {shape}; expected at least two dimensions")
    return shape


def _empty(shape: tuple[int, ...], dtype: Any) -> Array:
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise FrameError(
            f"the output has the shape {list(shape)}, for which there is no memory: give fewer or smaller frames"
        ) from error


def _size(frame: Array, layout: str | None) -> tuple[int, int, int]:
    """Batch, height and width of a frame. The core checks the rest."""
    shape = _shape("frame", frame)
    if len(shape) not in (3, 4):
        raise FrameError(f"frame has the shape {shape}; expected (H, W, 3) or (3, H, W), with or without a batch")
    hwc = layout == "HWC" or (layout is None and shape[-1] == 3)
    height, width = shape[-3:-1] if hwc else shape[-2:]
    return (shape[0] if len(shape) == 4 else 1), height, width


def _batch_of_maps(maps: Array) -> int:
    shape = _shape("err", maps)
    return shape[0] if len(shape) == 4 else 1


def _on_host(array: Array) -> bool:
    try:
        device = getattr(array, "__dlpack_device__", None)
        if device is not None:
            return int(device()[0]) not in (2, 13)  # CUDA, and CUDA's managed memory
        return not hasattr(array, "__cuda_array_interface__")
    except Exception:  # of a stranger's protocol: the core says what is wrong with the array
        return True


def _picture(background: Array | None) -> Array | None:
    """The background as a picture: a colour, three numbers in 0…1, becomes a picture of one pixel."""
    if isinstance(background, (tuple, list)):
        return np.array(_three("background", background), np.float32).reshape(1, 1, 3)
    return background


def _three(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise SettingError(f"{name} has {len(values)} values; expected three, one for each channel")
    return float(values[0]), float(values[1]), float(values[2])


def _pair(step: Fraction | None) -> tuple[int, int] | None:
    return None if step is None else (step.numerator, step.denominator)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise SettingError(f"{name} is {value}; expected at least 1")
    return value


def _float_type(dtype: str) -> str:
    if dtype not in ("float16", "float32"):
        raise SettingError(f"dtype is {dtype!r}; expected 'float16' or 'float32'")
    return dtype
