"""The steps for frames of certain sizes on a CUDA device, and the buffers that frames and mattes pass through."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import numpy as np

from trtmatte import _core
from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.graphs import Graphs
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.cuda.relocation import Relocation
from trtmatte.runtime.session.lanes import BoundSteps, Lanes
from trtmatte.runtime.session.memory import Array

__all__ = ["Buffers", "Side"]

_SIDES: Final = 2


class Side:
    """The buffers through which every other frame passes."""

    def __init__(self, steps: Mapping[int, BoundSteps], memory: DeviceMemory) -> None:
        self.steps = steps  # by the numbers of the lanes
        self.uploaded, self.computed, self.downloaded = (memory.event() for _ in range(3))
        self.arrivals: dict[Hashable, tuple[np.ndarray[Any, Any], DeviceArray]] = {}  # pinned, and on the device
        self.departures: dict[Hashable, DeviceArray] = {}
        self.detours: list[tuple[Array, Array]] = []  # pinned results, to be copied to where the device cannot write
        self.held: object = None  # keeps the caller's arrays alive until they have been read

    def settle(self) -> None:
        """Wait until the results of its last frame are complete."""
        self.downloaded.sync()
        for to, source in self.detours:
            _core.copy(to, source)
        self.detours.clear()


class Buffers:
    """Both sides for frames of certain sizes, and the graphs that are captured of their work."""

    def __init__(self, lanes: Lanes, memory: DeviceMemory, capture_obstacle: Callable[[], str]) -> None:
        self.sides = [Side({number: steps[side] for number, steps in lanes.items()}, memory) for side in range(_SIDES)]
        self.graphs = Graphs(memory.compute, capture_obstacle)
        self.relocation = Relocation(memory, self.graphs)
        self._memory = memory

    @property
    def note(self) -> str:
        return self.graphs.note or self.relocation.note

    def settle(self, side: Side) -> None:
        """Wait for the results of a side's last frame, and for earlier frames of the same chunk."""
        for each in self.sides:
            if each is side or each.detours:
                each.settle()

    def arrival(self, side: Side, key: tuple[Any, ...], array: Array) -> tuple[np.ndarray[Any, Any], DeviceArray]:
        """The buffers that a picture of the host passes through. Both sides get theirs at once."""
        key = (*key, array.shape, array.dtype)
        if key not in side.arrivals:
            for each in self.sides:
                pinned = self._memory.pinned(array.shape, array.dtype)
                each.arrivals[key] = pinned, self._memory.zeros(array.shape, array.dtype)
        return side.arrivals[key]

    def departure(self, side: Side, key: tuple[Any, ...], array: Array) -> DeviceArray:
        """The buffer that a matte for the host is written to."""
        key = (*key, array.shape, array.dtype)
        if key not in side.departures:
            for each in self.sides:
                each.departures[key] = self._memory.zeros(array.shape, array.dtype)
        return side.departures[key]
