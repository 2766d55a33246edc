"""Recurrent state, double-buffered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        self._has_saved = False
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

    def save(self) -> None:
        """Keep a copy for `restore`, for calls that change more than the other side."""
        if self._has_saved or not self._states:
            return
        if self._saved is None:
            self._saved = {name: self._memory.snapshot(array) for name, array in self._current.items()}
        for name, array in self._current.items():
            self._memory.copy(self._saved[name], array)
        self._has_saved = True

    def restore(self, side: int) -> None:
        """Return to the states before a call, which were on this side."""
        self.side = side
        if self._has_saved and self._saved is not None:
            for name, array in self._saved.items():
                self._memory.copy(self._current[name], array)
        self.forget()

    def forget(self) -> None:
        """Drop the saved states: the call has succeeded."""
        self._has_saved = False

    @property
    def _current(self) -> dict[str, Array]:
        return self._sides[self.side]

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


def checked_slots(slots: Sequence[int] | int | None, batch: int) -> list[int] | None:
    """The streams that `slots` names; None means all."""
    if slots is None:
        return None
    wanted = [slots] if isinstance(slots, int) else list(slots)
    for slot in wanted:
        if not isinstance(slot, (int, np.integer)) or not 0 <= slot < batch:
            raise SettingError(f"slot is {slot!r}; expected 0 to {batch - 1}: this session has {batch} stream(s)")
    return wanted
