"""The types of a session's options, for type checkers and editors. `Settings` checks the values."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np

from trtmatte.ops import Color, Layout

__all__ = ["BackendName", "Device", "Dtype", "Outputs", "SessionOptions", "StreamOptions"]


class _TorchDtype(Protocol):
    """`torch.float32` and its like."""

    @property
    def is_floating_point(self) -> bool: ...


class _TorchDevice(Protocol):
    """`torch.device`."""

    @property
    def index(self) -> int | None: ...


MatteOutput: TypeAlias = Literal["fgr", "pha", "rgba", "composite"]
SmallOutput: TypeAlias = Literal["pha_sm", "fgr_sm", "err_sm", "ref_sm", "err", "hid", "seg"]
Outputs: TypeAlias = MatteOutput | SmallOutput | list[str] | tuple[str, ...]
"""One output that trtmatte knows, or several: a list or a tuple may also name those of a network of your own."""

Dtype: TypeAlias = Literal["uint8", "float16", "float32"] | type[np.generic] | np.dtype[Any] | _TorchDtype
BackendName: TypeAlias = Literal["auto", "openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"] | str
"""Those that come with trtmatte, or one that was added."""

Device: TypeAlias = Literal["cpu", "cuda"] | str | _TorchDevice


class SessionOptions(TypedDict, total=False):
    """The options of `trtmatte.Session`, whose docstring describes them."""

    backend: BackendName
    device: Device | None
    outputs: Outputs | None
    dtype: Dtype
    layout: Layout
    color: Color
    plate: Any
    background: Any
    batch: int | None
    ring: int | None
    scene_cut: float | None
    raw_foreground: bool
    backdrop: Any


class StreamOptions(TypedDict, total=False):
    """The options of a session that `trtmatte.StreamPool` takes."""

    backend: BackendName
    device: Device | None
    outputs: Outputs | None
    dtype: Dtype
    layout: Layout
    color: Color
    background: Any
    scene_cut: float | None
    raw_foreground: bool
