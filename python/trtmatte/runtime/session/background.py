"""The background of a composite: a colour, a picture, a picture for each frame, or the frame itself, blurred."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from trtmatte import ops
from trtmatte.errors import InputError, SettingError, TrtmatteError
from trtmatte.media import still
from trtmatte.ops import Color
from trtmatte.runtime.session.arrays import is_image
from trtmatte.runtime.session.frames import Frames, read_frames, require_beside
from trtmatte.runtime.session.memory import Array, HostMemory, Memory
from trtmatte.support.colours import COLOURS

_BLUR: Final = 24.0  # the default strength
_REFERENCE_HEIGHT: Final = 1080
_SMALL_SIGMA: Final = 3.0  # of the blur, in the small picture that is blurred
_LEAST_SIGMA: Final = 0.25  # pixels; a smaller blur changes nothing
_FORMS: Final = (
    "a colour (a name, #rrggbb, or three numbers: 0…255 if whole, else 0…1; always red, green, blue), a picture "
    "(an array, a PIL image, the path of a file), or 'blur' or 'blur:N'"
)


class Background(Protocol):
    def require(self, frames: Frames) -> None:
        """Raise a FrameError unless it suits these frames."""

    def at(self, frame: Array, time: int, streams: slice) -> Array:
        """The picture behind these streams at one time. `frame` is their frame."""


class Picture:
    """One picture of any size for all frames, or one for each frame of a batch or chunk."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def require(self, frames: Frames) -> None:
        require_beside("background", self.frames, frames)

    def at(self, frame: Array, time: int, streams: slice) -> Array:
        return self.frames.at(time, streams)


class Blur:
    """The frame itself, blurred. `strength` is the standard deviation in pixels of a frame 1080 pixels high."""

    def __init__(self, strength: float, color: Color, memory: Memory) -> None:
        self._strength, self._color, self._memory = strength, color, memory
        self._buffers: dict[tuple[int, tuple[int, ...]], tuple[Array, Array]] = {}  # by first stream and shape

    @property
    def buffers(self) -> tuple[tuple[Array, Array], ...]:
        """The buffers in use."""
        return tuple(self._buffers.values())

    def require(self, frames: Frames) -> None:
        """Every frame can be blurred."""

    def at(self, frame: Array, time: int, streams: slice, cuda_stream: int | None = None) -> Array:
        """Blur at a size at which the blur spans a few pixels. The op that composites enlarges the result."""
        hwc = frame.shape[-1] == 3
        height, width = frame.shape[-3:-1] if hwc else frame.shape[-2:]
        batch = frame.shape[0] if frame.ndim == 4 else 1
        sigma = max(_LEAST_SIGMA, self._strength * height / _REFERENCE_HEIGHT)
        scale = min(1.0, _SMALL_SIGMA / sigma)
        shape = (batch, 3, max(4, round(height * scale)), max(4, round(width * scale)))
        small, blurred = self._buffers.get((streams.start, shape)) or self._allocate(streams.start, shape)
        size = shape[2:]
        ops.frame_sample(frame, *size, method="area", color=self._color, out=small, cuda_stream=cuda_stream)
        sigma *= shape[2] / height
        ops.frame_sample(small, *size, method="gaussian", sigma=sigma, out=blurred, cuda_stream=cuda_stream)
        return blurred[:, ::-1] if self._color == "bgr" else blurred

    def _allocate(self, stream: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Allocate a pair. For frames of other shapes in the same streams, only the last pair is kept."""
        for key in [key for key in self._buffers if key[0] == stream][:-1]:
            del self._buffers[key]
        pair = self._memory.zeros(shape, "float32"), self._memory.zeros(shape, "float32")
        self._buffers[stream, shape] = pair
        return pair


def read_background(value: Any, color: Color, memory: Memory | None = None) -> Background:
    """Read a background in any form that callers may give."""
    memory = memory or HostMemory()
    if isinstance(value, (str, Path)):
        return _from_text(str(value), color, memory)
    if isinstance(value, (tuple, list)) and len(value) == 3 and not hasattr(value[0], "__len__"):
        return _colour(value, color)
    return _picture(value, color, memory)


def snapshot(background: Background, memory: Memory) -> Background:
    """A copy that later changes of the caller's array do not touch."""
    if isinstance(background, Picture):
        return Picture(background.frames.snapshot(memory))
    return background


def _from_text(text: str, color: Color, memory: Memory) -> Background:
    word = text.strip().lower()
    if word in COLOURS:
        return _colour(COLOURS[word], color)
    if re.fullmatch(r"#[0-9a-f]{6}|#[0-9a-f]{3}", word):
        digits = word[1:] if len(word) == 7 else "".join(digit * 2 for digit in word[1:])
        return _colour(tuple(bytes.fromhex(digits)), color)
    if word.split(":")[0] == "blur":
        return Blur(_strength(text), color, memory)
    if Path(text).is_file():
        return _picture(_opened(text), color, memory)
    raise SettingError(f"background is {text!r}, which is no file either; expected {_FORMS}")


def _strength(text: str) -> float:
    _, _, number = text.partition(":")
    try:
        strength = float(number) if number else _BLUR
    except ValueError:
        strength = 0.0
    if not 0 < strength <= _REFERENCE_HEIGHT:
        raise SettingError(
            f"background is {text!r}; expected 'blur', or 'blur:N' with N above 0 and at most {_REFERENCE_HEIGHT}: "
            f"the width of the blur in pixels of a frame {_REFERENCE_HEIGHT} pixels high"
        )
    return strength


def _colour(values: Any, color: Color) -> Picture:
    """A picture of one pixel."""
    whole = all(isinstance(value, (int, np.integer)) for value in values)
    highest = 255 if whole else 1
    if not all(isinstance(value, (int, float, np.number)) and 0 <= value <= highest for value in values):
        raise SettingError(f"background is {values!r}; expected {_FORMS}")
    pixel = np.array(values, np.uint8 if whole else np.float32).reshape(1, 1, 3)
    return Picture(Frames(pixel[..., ::-1] if color == "bgr" else pixel, (), 1, 1))


def _picture(value: Any, color: Color, memory: Memory) -> Picture:
    try:
        return Picture(read_frames(value, "background", color, memory))
    except TrtmatteError as error:
        if _is_picture(value):
            raise
        raise SettingError(f"background is {_shown(value)}; expected {_FORMS}") from error


def _is_picture(value: Any) -> bool:
    try:
        return is_image(value) or hasattr(value, "shape")
    except Exception:  # of an object whose attributes fail
        return False


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"a {type(value).__name__}"


def _opened(path: str) -> Any:
    try:
        pixels = still.read(Path(path)).pixels
    except InputError as error:
        raise SettingError(f"the background {path} is no picture: {error}") from error
    return still.pillow("Image").fromarray(pixels)
