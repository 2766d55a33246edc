"""The pictures of a call: one picture, one for each stream, or a chunk of them in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from trtmatte.errors import FrameError
from trtmatte.format.outputs import DTYPES
from trtmatte.runtime.session.arrays import Host, is_image
from trtmatte.runtime.session.memory import Array, HostMemory, Memory

_FORMS: Final = "(H, W, 3) or (3, H, W), with the batch in front, or the batch and the time"


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures of one size: `front` is (), (batch,) or (batch, time)."""

    array: Array
    front: tuple[int, ...]
    height: int
    width: int
    copied: int = 0  # bytes
    is_torch: bool = False

    @property
    def batch(self) -> int:
        return self.front[0] if self.front else 1

    @property
    def times(self) -> int:
        return self.front[1] if len(self.front) == 2 else 1

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def on_device(self) -> bool:
        return not isinstance(self.array, np.ndarray)

    def snapshot(self, memory: Memory) -> Frames:
        """A copy that later changes of the caller's array do not touch."""
        return replace(self, array=memory.snapshot(self.array))

    def at(self, time: int, streams: slice) -> Array:
        """The pictures of these streams at one time. A single picture serves every stream and time."""
        if not self.front:
            return self.array
        array = self.array if self.batch == 1 else self.array[streams]
        return array if len(self.front) == 1 else array[:, min(time, self.times - 1)]


def read_frames(value: Any, name: str, color: str, memory: Memory | None = None) -> Frames:
    """Read a caller's pictures: an array, a PIL image, or a list of them. Checks type and shape, not pixels."""
    memory = memory or HostMemory()
    host = _stacked(value, name, color, memory) if _is_list(value) else _read(value, name, color, memory)
    array = host.array
    if array.dtype.name not in DTYPES or not array.dtype.isnative:
        raise FrameError(
            f"{name} holds {array.dtype}; expected uint8 (0…255), float16 or float32 (0…1): "
            + _remedy(name, array.dtype, host.is_torch)
        )
    if array.ndim not in (3, 4, 5):
        raise _wrong(name, array, f"expected {_FORMS}")
    if not array.size:
        raise _wrong(name, array, "it is empty")
    front, picture = array.shape[:-3], array.shape[-3:]
    if 3 not in (picture[0], picture[2]):
        remedy = "; leave its alpha out: frame[..., :3]" if picture[2] == 4 else ""
        raise _wrong(name, array, f"expected three channels: {_FORMS}{remedy}")
    height, width = picture[:2] if picture[2] == 3 else picture[1:]
    return Frames(array, front, height, width, host.copied, host.is_torch)


def _read(value: Any, name: str, color: str, memory: Memory) -> Host:
    host = memory.read(value, name)
    return host._replace(array=host.array[..., ::-1]) if color == "bgr" and is_image(value) else host


def _is_list(value: Any) -> bool:
    """Report if this is a list of pictures, and not one of numbers."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(hasattr(each, "shape") or is_image(each) for each in value)
    )


def _stacked(values: Sequence[Any], name: str, color: str, memory: Memory) -> Host:
    """The pictures of a list as a batch, copied into one array."""
    hosts = [_read(each, name, color, memory) for each in values]
    arrays = [host.array for host in hosts]
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise FrameError(f"{name} is a list with arrays on a GPU; expected one array: stack them, as torch.stack does")
    kinds = dict.fromkeys(f"{array.dtype} {array.shape}" for array in arrays)
    if len(kinds) > 1:
        raise FrameError(
            f"{name} is a list of {', '.join(kinds)}; expected pictures of one kind, one for each stream: "
            "pass pictures of several sizes one after another, as session.stream does, or to session.each"
        )
    batch = np.stack(arrays)
    return Host(batch, batch.nbytes, all(host.is_torch for host in hosts))


def broadcast_batch(array: Array, batch: int) -> Array:
    """Repeat a single picture for each stream of a batch, without copying it."""
    if batch == 1 or (array.ndim == 4 and len(array) == batch):
        return array
    shape = (batch, *array.shape[-3:])
    return np.broadcast_to(array, shape) if isinstance(array, np.ndarray) else array.broadcast_to(shape)


def require_streams(name: str, frames: Frames, batch: int) -> None:
    """One picture for each of the session's streams."""
    if frames.batch != batch:
        raise _wrong(
            name,
            frames.array,
            f"it has {frames.batch} picture(s) side by side and this session has {batch} stream(s): "
            f"open the session with batch={frames.batch}; frames that follow each other are a chunk (batch, time, …)",
        )


def require_same_size(name: str, frames: Frames, main: Frames) -> None:
    """A picture of the same scene, seen by the same camera."""
    if frames.size != main.size:
        raise _wrong(
            name,
            frames.array,
            f"it is {frames.width}x{frames.height} pixels and the frame {main.width}x{main.height}: "
            "bring it to the frame's size",
        )
    require_beside(name, frames, main)


def require_beside(name: str, frames: Frames, main: Frames) -> None:
    """One picture for all, or as many as there are frames."""
    if frames.batch not in (1, main.batch) or frames.times not in (1, main.times):
        raise _wrong(
            name, frames.array, f"expected one picture, or as many as there are frames: {main.batch} by {main.times}"
        )


def _remedy(name: str, dtype: np.dtype[Any], is_torch: bool) -> str:
    """The way from another type to one that is read: a mere cast would cut the upper bits off, or the fractions."""
    native = dtype.newbyteorder("=").name

    def cast(to: str) -> str:
        return f"{name}.to(torch.{to})" if is_torch else f'{name}.astype("{to}")'

    if native in DTYPES:
        return f"{cast(native)} brings its bytes into the order of this machine"
    if native == "uint16":
        upper = "" if is_torch else f'({name} >> 8).astype("uint8"), or '
        return f"{upper}{cast('float32')} / 65535, if its values are 0…65535"
    if dtype.kind == "b":
        return f"{cast('uint8')} * 255 makes it black and white"
    if dtype.kind in "ui":
        return f"{cast('uint8')} if its values are 0…255; scale others to that before"
    if dtype.kind == "f":
        return f"{cast('float32')} if its values are 0…1, {cast('uint8')} if they are 0…255"
    return "convert it to one of these"


def _wrong(name: str, array: Array, problem: str) -> FrameError:
    return FrameError(f"{name} is {array.dtype} {array.shape}; {problem}")
