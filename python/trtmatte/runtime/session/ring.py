"""The arrays that results are written to: a ring of them, or the caller's own. `pool` has those that are lent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtmatte import _core
from trtmatte.errors import FrameError
from trtmatte.format.outputs import CHANNELS
from trtmatte.format.program import Program
from trtmatte.runtime.session.alpha import as_alpha
from trtmatte.runtime.session.frames import Frames
from trtmatte.runtime.session.memory import Array, Memory
from trtmatte.runtime.session.patches import shape_of


@dataclass(frozen=True)
class Shapes:
    """Shape and type of each output of a call. `front` is that of the frames."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    front: tuple[int, ...]
    is_torch: bool
    on_device: bool

    @classmethod
    def of(cls, program: Program, outputs: Sequence[str], frames: Frames, dtype: str, layout: str) -> Shapes:
        """Mattes are as large as the frames. The program's other outputs have the networks' shapes."""
        shapes: dict[str, tuple[int, ...]] = {}
        dtypes: dict[str, str] = {}
        for name in outputs:
            if name in CHANNELS:
                size, channels = (frames.height, frames.width), CHANNELS[name]
                shapes[name] = (*frames.front, *((*size, channels) if layout == "HWC" else (channels, *size)))
                dtypes[name] = dtype
            else:
                front = frames.front or (frames.batch,)
                shapes[name] = (*front, *shape_of(program, name)[1:])
                dtypes[name] = program.tensors[name].dtype
        return cls(shapes, dtypes, frames.front, frames.is_torch, frames.on_device)

    def serve(self, frames: Frames) -> bool:
        """Report if arrays of these shapes suit the frames, whose size is known to fit."""
        return (frames.front, frames.is_torch, frames.on_device) == (self.front, self.is_torch, self.on_device)

    def allocate(self, memory: Memory) -> Results:
        arrays = {name: self.allocate_one(name, memory) for name in self.shapes}
        return Results(arrays, {name: self.wrap(name, array, memory) for name, array in arrays.items()})

    def allocate_one(self, name: str, memory: Memory) -> Array:
        return memory.result(self.shapes[name], self.dtypes[name], self.on_device)

    def wrap(self, name: str, array: Array, memory: Memory) -> Any:
        """A result in the form that callers get."""
        given = memory.wrap_for_caller(array, self.is_torch)
        return as_alpha(given) if CHANNELS.get(name) == 1 else given

    def require(self, name: str, array: Array) -> None:
        """Refuse a caller's array that differs from the session's own."""
        if array.shape != self.shapes[name] or array.dtype != self.dtypes[name]:
            raise FrameError(
                f"out[{name!r}] is {array.dtype} {array.shape}; expected {self.dtypes[name]} {self.shapes[name]}"
            )
        if not array.flags.writeable:
            raise FrameError(f"out[{name!r}] is read-only; expected an array that may be written: pass a copy")


@dataclass(frozen=True)
class Results:
    """The arrays of one call, as the ops write them and as the caller gets them."""

    arrays: Mapping[str, Array]
    for_caller: Mapping[str, Any]


class Ring:
    """Sets of arrays that take turns, so that a result stays valid for some calls."""

    def __init__(self, shapes: Shapes, count: int, memory: Memory) -> None:
        self.shapes = shapes
        self._results = [shapes.allocate(memory) for _ in range(count)]
        self._next = 0

    def take(self) -> Results:
        """The oldest set, which is written next."""
        return self._results[self._next]

    def count(self, results: Results) -> None:
        """The results are the caller's: the next set is another one."""
        if results is self._results[self._next]:
            self._next = (self._next + 1) % len(self._results)


def caller_results(
    out: Any, outputs: Sequence[str], shapes: Shapes, pictures: Mapping[str, Array], memory: Memory
) -> Results:
    """The caller's arrays: by name, or in the order of the outputs. They share no memory with the pictures."""
    if isinstance(out, Mapping):
        named = dict(out)
    else:
        listed = list(out) if isinstance(out, Sequence) else [out]
        if len(listed) != len(outputs):
            raise FrameError(f"out has {len(listed)} array(s); expected {len(outputs)}: {', '.join(outputs)}")
        named = dict(zip(outputs, listed, strict=True))
    if named.keys() != set(outputs):
        raise FrameError(f"out has {', '.join(named) or 'no arrays'}; expected {', '.join(outputs)}")
    arrays = {}
    for name in outputs:
        arrays[name] = memory.read(named[name], f"out[{name!r}]").array
        shapes.require(name, arrays[name])
    _core.expect_room({f"out[{name!r}]": array for name, array in arrays.items()}, dict(pictures))
    return Results(arrays, {name: named[name] for name in outputs})


def slice_at(array: Array, front: tuple[int, ...], time: int, streams: slice) -> Array:
    """The part of an array that these streams write at one time."""
    if not front:
        return array
    return array[streams] if len(front) == 1 else array[streams, time]
