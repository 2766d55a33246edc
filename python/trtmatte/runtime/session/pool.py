"""Arrays for results that are never written again while anybody has a part of them."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Final

from trtmatte.runtime.session.memory import Array, Memory
from trtmatte.runtime.session.ring import Results, Shapes

__all__ = ["KEPT", "Pool"]

KEPT: Final = 3
"""The arrays of each output that are kept ready."""


class Pool:
    """Lends arrays to results. An array comes back when the caller has dropped all that reads it.

    `count` arrays of each output are kept, and lent in turn, so that a caller who drops results meets few addresses.
    For a caller who keeps results more are made; those are freed when they come back.
    """

    def __init__(self, shapes: Shapes, count: int, memory: Memory) -> None:
        self.shapes = shapes
        self._count, self._memory = count, memory
        self._free = {name: deque(shapes.allocate_one(name, memory) for _ in range(count)) for name in shapes.shapes}
        self._lent: dict[int, _Lent] = {}
        this = weakref.ref(
            self
        )  # arrays on a device must not be part of a cycle, nor hold the pool of a closed session

        def come_back(lent: _Lent) -> None:
            pool = this()
            if pool is not None:
                pool._take_back(lent)

        self._come_back = come_back

    def take(self) -> Results:
        """Arrays that nobody has."""
        arrays = {name: self._lend(name) for name in self.shapes.shapes}
        return Results(arrays, {name: self.shapes.wrap(name, array, self._memory) for name, array in arrays.items()})

    def count(self, results: Results) -> None:
        """Do nothing: arrays come back by themselves, also those of calls that fail."""

    def _lend(self, name: str) -> Array:
        try:
            array = self._free[name].popleft()
        except IndexError:
            array = self.shapes.allocate_one(name, self._memory)
        copy, loan = self._memory.lend(array)
        lent = _Lent(loan, self._come_back, name, array)
        self._lent[id(lent)] = lent
        return copy

    def _take_back(self, lent: _Lent) -> None:
        """Called on whichever thread drops the last part, between any two lines of another."""
        self._lent.pop(id(lent), None)
        free = self._free[lent.name]
        if len(free) < self._count:
            free.append(lent.array)


class _Lent(weakref.ref[Any]):
    """Tells the pool when what stands for an array in the caller's hands is dropped."""

    __slots__ = ("array", "name")

    def __new__(cls, loan: object, come_back: Any, name: str, array: Array) -> _Lent:
        return super().__new__(cls, loan, come_back)

    def __init__(self, loan: object, come_back: Any, name: str, array: Array) -> None:
        self.name, self.array = name, array
