"""What a composite is made over: a colour, a picture, a picture for each frame, or the frame itself, blurred."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from trtmatte import ops
from trtmatte.errors import SettingError, TrtmatteError
from trtmatte.ops import Color
from trtmatte.session.arrays import is_image
from trtmatte.session.frames import Frames, read_frames, require_beside
from trtmatte.session.memory import Array, HostMemory, Memory

COLOURS: Final = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "silver": (192, 192, 192),
    "red": (255, 0, 0),
    "maroon": (128, 0, 0),
    "yellow": (255, 255, 0),
    "olive": (128, 128, 0),
    "lime": (0, 255, 0),
    "green": (0, 128, 0),
    "cyan": (0, 255, 255),
    "teal": (0, 128, 128),
    "blue": (0, 0, 255),
    "navy": (0, 0, 128),
    "magenta": (255, 0, 255),
    "purple": (128, 0, 128),
    "greenscreen": (120, 255, 155),
}
"""The web's basic colours, and the green that mattes are often shown over."""

_BLUR: Final = 24.0  # the default strength
_REFERENCE_HEIGHT: Final = 1080
_SMALL_SIGMA: Final = 3.0  # of the blur in the small picture that it is done in
_LEAST_SIGMA: Final = 0.25  # pixels; what is less is nothing
_FORMS: Final = (
    "a colour (a name, #rrggbb, or three numbers: 0…255 if whole, else 0…1; always red, green, blue), a picture "
    "(an array, a PIL image, the path of a file), or 'blur' or 'blur:N'"
)


class Backdrop(Protocol):
    def require(self, frames: Frames) -> None:
        """A FrameError unless it goes with these frames."""

    def at(self, frame: Array, time: int, streams: slice) -> Array:
        """The picture behind these streams at one time; `frame` is theirs."""


class Picture:
    """A picture of any size for all frames, or one for each of a batch or chunk."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def require(self, frames: Frames) -> None:
        require_beside("backdrop", self.frames, frames)

    def at(self, frame: Array, time: int, streams: slice) -> Array:
        return self.frames.at(time, streams)


class Blur:
    """The frame itself, blurred. `strength` is the deviation of the blur in pixels of a frame 1080 pixels high."""

    def __init__(self, strength: float, color: Color, memory: Memory) -> None:
        self._strength, self._color, self._memory = strength, color, memory
        self._buffers: dict[tuple[int, tuple[int, ...]], tuple[Array, Array]] = {}  # by stream and shape

    @property
    def buffers(self) -> tuple[tuple[Array, Array], ...]:
        """What it works in."""
        return tuple(self._buffers.values())

    def require(self, frames: Frames) -> None:
        """Every frame has one."""

    def at(self, frame: Array, time: int, streams: slice, stream: int | None = None) -> Array:
        """Blurred at a size at which the blur spans a few pixels; the op that composites enlarges it."""
        hwc = frame.shape[-1] == 3
        height, width = frame.shape[-3:-1] if hwc else frame.shape[-2:]
        batch = frame.shape[0] if frame.ndim == 4 else 1
        sigma = max(_LEAST_SIGMA, self._strength * height / _REFERENCE_HEIGHT)
        scale = min(1.0, _SMALL_SIGMA / sigma)
        shape = (batch, 3, max(4, round(height * scale)), max(4, round(width * scale)))
        small, blurred = self._buffers.get((streams.start, shape)) or self._allocate(streams.start, shape)
        size = shape[2:]
        ops.frame_sample(frame, *size, method="area", color=self._color, out=small, stream=stream)
        sigma *= shape[2] / height
        ops.frame_sample(small, *size, method="gaussian", sigma=sigma, out=blurred, stream=stream)
        return blurred[:, ::-1] if self._color == "bgr" else blurred

    def _allocate(self, stream: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Those of another size are let go."""
        self._buffers = {key: value for key, value in self._buffers.items() if key[1] == shape}
        pair = self._memory.zeros(shape, "float32"), self._memory.zeros(shape, "float32")
        self._buffers[stream, shape] = pair
        return pair


def read_backdrop(value: Any, color: Color, memory: Memory | None = None) -> Backdrop:
    """What the caller means by a backdrop."""
    memory = memory or HostMemory()
    if isinstance(value, (str, Path)):
        return _from_text(str(value), color, memory)
    if isinstance(value, (tuple, list)) and len(value) == 3 and not hasattr(value[0], "__len__"):
        return _colour(value, color)
    return _picture(value, color, memory)


def kept(backdrop: Backdrop, memory: Memory) -> Backdrop:
    """One that stays as it is whatever the caller does to his array."""
    if isinstance(backdrop, Picture):
        return Picture(backdrop.frames.kept(memory))
    return backdrop


def _from_text(text: str, color: Color, memory: Memory) -> Backdrop:
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
    raise SettingError(f"backdrop is {text!r}, which is no file either; expected {_FORMS}")


def _strength(text: str) -> float:
    _, _, number = text.partition(":")
    try:
        strength = float(number) if number else _BLUR
    except ValueError:
        strength = 0.0
    if not 0 < strength <= _REFERENCE_HEIGHT:
        raise SettingError(
            f"backdrop is {text!r}; expected 'blur', or 'blur:N' with N above 0 and at most {_REFERENCE_HEIGHT}: "
            f"the width of the blur in pixels of a frame {_REFERENCE_HEIGHT} pixels high"
        )
    return strength


def _colour(values: Any, color: Color) -> Picture:
    """A picture of one pixel."""
    whole = all(isinstance(value, (int, np.integer)) for value in values)
    highest = 255 if whole else 1
    if not all(isinstance(value, (int, float, np.number)) and 0 <= value <= highest for value in values):
        raise SettingError(f"backdrop is {values!r}; expected {_FORMS}")
    pixel = np.array(values, np.uint8 if whole else np.float32).reshape(1, 1, 3)
    return Picture(Frames(pixel[..., ::-1] if color == "bgr" else pixel, (), 1, 1))


def _picture(value: Any, color: Color, memory: Memory) -> Picture:
    try:
        return Picture(read_frames(value, "backdrop", color, memory))
    except TrtmatteError as error:
        if is_image(value) or hasattr(value, "shape"):
            raise
        raise SettingError(f"backdrop is {value!r}; expected {_FORMS}") from error


def _opened(path: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise SettingError(f"reading the backdrop {path} needs Pillow: pip install pillow") from error
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise SettingError(f"the backdrop {path} is no picture that Pillow can read: {error}") from error
