"""The result of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trtmatte.errors import FrameError, SettingError
from trtmatte.runtime.session.arrays import is_on_cuda, is_torch, on_host

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Matte(Sequence[Any]):
    """The outputs of a frame, in the order of `outputs`, and by name.

    >>> fgr, pha = session(frame)
    >>> session(frame).pha
    >>> session(frame)["pha"]

    The arrays belong to the session's ring of results (see `Session`) unless they are the caller's own.
    """

    __slots__ = ("_color", "_layout", "_values")

    def __init__(self, values: Mapping[str, Any], layout: str = "HWC", color: str = "rgb") -> None:
        self._values, self._layout, self._color = values, layout, color

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return tuple(self._values.values())[key]
        try:
            return self._values[key]
        except KeyError:
            raise SettingError(f"{key} was not asked for; this session has outputs={self.names}") from None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._values:
            return self._values[name]
        raise AttributeError(f"a matte with outputs={self.names} has no {name}")

    def __repr__(self) -> str:
        return f"Matte({', '.join(f'{name}: {tuple(value.shape)}' for name, value in self._values.items())})"

    def copy(self) -> Matte:
        """A copy in memory of its own, to keep."""
        return self._like(value.clone() if is_torch(value) else value.copy() for value in self)

    def numpy(self) -> Matte:
        """The outputs as numpy arrays: views of arrays in the host's memory, copies of others."""
        return self._like(_to_numpy(value) for value in self)

    def pil(self) -> Matte:
        """The outputs of one frame as PIL images."""
        return self._like(self._image(name, value) for name, value in self.numpy()._values.items())

    def _like(self, values: Iterator[Any]) -> Matte:
        return Matte(dict(zip(self._values, values, strict=True)), self._layout, self._color)

    def _image(self, name: str, value: np.ndarray[Any, Any]) -> Any:
        try:
            from PIL import Image
        except ImportError as error:
            raise SettingError("pil() needs Pillow: pip install pillow") from error
        while value.ndim > 3 and len(value) == 1:
            value = value[0]
        if value.ndim != 3:
            raise FrameError(f"{name} is {value.shape}; pil() is for a single frame: take the frames of a batch apart")
        # Small outputs are as the networks make them, planes whatever the layout of frames is.
        pixels = value if self._layout == "HWC" and value.shape[-1] in _MODES else value.transpose(1, 2, 0)
        channels = pixels.shape[-1]
        if channels not in _MODES:
            raise FrameError(f"{name} has {channels} channels; an image has {', '.join(map(str, _MODES))}")
        if pixels.dtype != np.uint8:
            pixels = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * 255).astype(np.uint8)
        if self._color == "bgr" and channels >= 3:
            pixels = pixels[..., [2, 1, 0, 3][:channels]]
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels), _MODES[channels])


def _to_numpy(value: Any) -> np.ndarray[Any, Any]:
    if is_on_cuda(value):
        array: np.ndarray[Any, Any] = value.cpu().numpy() if is_torch(value) else value.get()
        return array
    host: np.ndarray[Any, Any] = on_host(value, "an output").array
    return host
