"""The result of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trtmatte.errors import FrameError, SettingError, TrtmatteError
from trtmatte.format.outputs import CHANNELS
from trtmatte.runtime.session.alpha import as_alpha
from trtmatte.runtime.session.arrays import is_image, is_on_cuda, is_torch, on_host

if TYPE_CHECKING:
    from typing_extensions import Self

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Matte(Sequence[Any]):
    """The outputs of a frame, in the order of `outputs`, and by name.

    >>> fgr, pha = session(frame)
    >>> session(frame).pha
    >>> session(frame)["pha"]

    The arrays are the caller's, and never change, unless the session has a `ring` (see `Session`). An alpha of numpy
    has an axis for its channel, as `fgr * pha` needs, and `Image.fromarray(pha)` reads it all the same.
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
        if name.startswith("_"):  # of a protocol, perhaps before there are values
            raise AttributeError(f"a matte has no {name}")
        if name not in self._values:
            raise AttributeError(f"a matte with outputs={self.names} has no {name}")
        return self._values[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})

    def __repr__(self) -> str:
        return f"Matte({', '.join(f'{name}: {_described(value)}' for name, value in self._values.items())})"

    def _repr_png_(self) -> bytes | None:
        """The first frame, small and over a checkerboard, for notebooks."""
        from trtmatte.runtime.session.preview import preview

        pictures = {name: self._first_picture(name) for name in self.names}
        return preview({name: picture for name, picture in pictures.items() if picture is not None})

    def copy(self) -> Self:
        """A copy in memory of its own."""
        return self._like(_copied(value) for value in self)

    def __copy__(self) -> Self:
        return self._like(iter(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arrays; those on a device are fetched."""
        values = {name: _to_numpy(value) if is_on_cuda(value) else value for name, value in self._values.items()}
        return _unpickled, (type(self), values, self._layout, self._color)

    def numpy(self) -> Self:
        """The outputs as numpy arrays: views of arrays in the host's memory, copies of others."""
        return self._like(_to_numpy(value) for value in self)

    def pil(self) -> Self:
        """The outputs as PIL images: lists of them for batches, lists of lists for chunks of several streams.

        A batch of one, or a chunk of one frame, counts as a single frame.
        """
        return self._like(self._pictures(name, value) for name, value in self._values.items())

    def _like(self, values: Iterator[Any]) -> Self:
        return type(self)(dict(zip(self._values, values, strict=True)), self._layout, self._color)

    def _first_picture(self, name: str) -> Any:
        """The first image of an output, or None: it may be no picture, or Pillow may be missing."""
        try:
            found = self._pictures(name, self._values[name])
        except TrtmatteError:
            return None
        while isinstance(found, list):
            found = found[0] if found else None
        return found

    def _pictures(self, name: str, value: Any) -> Any:
        if _is_pictures(value):
            return value
        array = _to_numpy(value)
        while array.ndim > 3 and len(array) == 1:
            array = array[0]
        return [self._pictures(name, each) for each in array] if array.ndim > 3 else self._image(name, array)

    def _image(self, name: str, value: np.ndarray[Any, Any]) -> Any:
        try:
            from PIL import Image
        except ImportError as error:
            raise SettingError("pil() needs Pillow: pip install pillow") from error
        if value.ndim != 3:
            raise FrameError(f"{name} is {value.shape}; expected pictures: (H, W, channels) or (channels, H, W)")
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


def _unpickled(kind: type[Matte], values: Mapping[str, Any], layout: str, color: str) -> Matte:
    return kind(
        {name: as_alpha(each) if CHANNELS.get(name) == 1 else each for name, each in values.items()}, layout, color
    )


def _is_pictures(value: Any) -> bool:
    """Report if this is what `pil` makes."""
    return is_image(value) or isinstance(value, list)


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value.clone() if is_torch(value) else value.copy()


def _described(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_described, value[:2]))}{', …' if len(value) > 2 else ''}]"
    if is_image(value):
        return f"{value.mode} {value.width}x{value.height}"
    return str(tuple(value.shape))


def _to_numpy(value: Any) -> np.ndarray[Any, Any]:
    if is_on_cuda(value):
        array: np.ndarray[Any, Any] = value.cpu().numpy() if is_torch(value) else value.get()
        return array
    host: np.ndarray[Any, Any] = on_host(value, "an output").array
    return host
