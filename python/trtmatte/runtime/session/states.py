"""Recurrent state, double-buffered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from trtmatte.errors import SettingError, TrtmatteError
from trtmatte.format.program import Program
from trtmatte.runtime.session.memory import Array, HostMemory, Memory


class States:
    """Two buffers for each state: a frame reads one side and writes the other.

    A frame counts once `flip` is called, so that a frame that fails leaves no trace.
    """

    def __init__(
        self, program: Program, batch: int, memory: Memory | None = None, dtypes: Mapping[str, str] | None = None
    ) -> None:
        """`dtypes` gives the types of states that the networks have in other types than the program."""
        self._states = program.states
        self._memory = memory = memory or HostMemory()
        self.batch = batch
        shapes = {state.name: (batch, *map(int, program.tensors[state.input].shape[1:])) for state in program.states}
        types = {name: tensor.dtype for name, tensor in program.tensors.items()} | dict(dtypes or {})
        kinds = {state.name: types[state.input] for state in program.states}
        self._sides: list[dict[str, Array]] = [
            {name: memory.zeros(shape, kinds[name]) for name, shape in shapes.items()} for _ in range(2)
        ]
        self._saved: dict[str, Array] | None = None
        self._saved_slots: set[int] = set()
        self.side = 0

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides in use: a program without states has one."""
        return (0, 1) if self._states else (0,)

    def tensors(self, side: int, streams: slice) -> dict[str, Array]:
        """The program's tensors for these streams when a frame reads `side`."""
        before, after = self._sides[side], self._sides[1 - side]
        return {state.input: before[state.name][streams] for state in self._states} | {
            state.output: after[state.name][streams] for state in self._states
        }

    def flip(self) -> None:
        """Swap the sides: the next frame reads what was written."""
        if self._states:
            self.side = 1 - self.side

    def advance(self, slots: Collection[int]) -> None:
        """Let these streams read next what was written. The others stay as they are. Copies the fewer of both.

        If it is interrupted, `restore` returns to the states before.
        """
        others = [slot for slot in range(self.batch) if slot not in slots]
        if 2 * len(slots) < len(others):  # they are copied twice: once for `restore`
            self.save(slots)
            self._copy(self._current, self._other, slots)
        else:
            self._copy(self._other, self._current, others)
            self.flip()

    def get(self) -> dict[str, np.ndarray[Any, Any]]:
        return {name: self._memory.fetch(array) for name, array in self._current.items()}

    def set(self, values: Mapping[str, Any]) -> None:
        """Set all states, or none if one does not fit."""
        arrays = {name: self._fitting(name, value) for name, value in values.items()}
        if missing := self._current.keys() - arrays.keys():
            raise SettingError(f"state lacks {', '.join(sorted(missing))}; expected {', '.join(self._current)}")
        for name, array in arrays.items():
            self._memory.copy(self._current[name], array)

    def zero(self, slots: Iterable[int] | None = None) -> None:
        """Reset the states of these streams, or of all, to zeros."""
        for array in self._current.values():
            for each in (array,) if slots is None else (array[slot : slot + 1] for slot in slots):
                self._memory.clear(each)

    def save(self, slots: Iterable[int] | None = None) -> None:
        """Keep copies of these streams' states, or of all, for `restore`: a call changes more than the other side."""
        wanted = {*(range(self.batch) if slots is None else slots)} - self._saved_slots
        if not wanted or not self._states:
            return
        if self._saved is None:
            self._saved = {name: self._memory.snapshot(array) for name, array in self._current.items()}
        self._copy(self._saved, self._current, wanted)
        self._saved_slots |= wanted

    def restore(self, side: int) -> None:
        """Return to the states before a call, which were on this side."""
        self.side = side
        if self._saved is not None:
            self._copy(self._current, self._saved, self._saved_slots)
        self.forget()

    def forget(self) -> None:
        """Drop the saved states: the call has succeeded."""
        self._saved_slots.clear()

    @property
    def _current(self) -> dict[str, Array]:
        return self._sides[self.side]

    @property
    def _other(self) -> dict[str, Array]:
        return self._sides[1 - self.side]

    def _copy(self, to: Mapping[str, Array], source: Mapping[str, Array], slots: Iterable[int]) -> None:
        for streams in _slices(slots):
            for name, array in source.items():
                self._memory.copy(to[name][streams], array[streams])

    def _fitting(self, name: str, value: Any) -> Array:
        if name not in self._current:
            raise SettingError(f"state has {name!r}; expected {', '.join(self._current) or 'none: it has no states'}")
        expected = self._current[name]
        try:
            array = self._memory.read(value, f"state {name}").array
        except TrtmatteError as error:
            raise SettingError(str(error)) from error
        if array.shape != expected.shape or array.dtype != expected.dtype:
            raise SettingError(
                f"state {name} is {array.dtype} {array.shape}; expected {expected.dtype} {expected.shape}, "
                "as `state` of a session over the same engine with the same batch gives it"
            )
        return array


def _slices(slots: Iterable[int]) -> Iterator[slice]:
    """The slots in slices of neighbours."""
    for _, neighbours in groupby(enumerate(sorted(slots)), lambda pair: pair[1] - pair[0]):
        found = [slot for _, slot in neighbours]
        yield slice(found[0], found[-1] + 1)


def checked_slots(slots: Sequence[int] | int | None, batch: int) -> list[int] | None:
    """The streams that `slots` names; None means all."""
    if slots is None:
        return None
    wanted = [slots] if isinstance(slots, int) else list(slots)
    for slot in wanted:
        if not isinstance(slot, (int, np.integer)) or not 0 <= slot < batch:
            raise SettingError(f"slot is {slot!r}; expected 0 to {batch - 1}: this session has {batch} stream(s)")
    return wanted
