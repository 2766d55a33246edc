"""Counters and latencies of a session."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np

from trtmatte import _core
from trtmatte.runtime.session.memory import Memory

_WINDOW: Final = 1024


@dataclass(frozen=True)
class Stats:
    """Latencies are of the last 1,024 calls, in milliseconds a frame.

    Bytes are those that the session copied in and out: none for arrays that are read and written in place, and none
    for states. On a CUDA device they are those between the host and the device. `allocations` counts buffers that the
    session and the native core got since the first frame; in steady state there are none.

    On a CUDA device a frame is one launch of a graph, once the frames at its addresses have been seen twice. `note`
    says what prevents that, or costs a copy.
    """

    frames: int
    p50: float
    p90: float
    p99: float
    slowest: float
    bytes_in: int
    bytes_out: int
    allocations: int
    launches: int = 0  # of CUDA graphs
    captures: int = 0  # frames that were captured into one
    note: str = ""


class Counters:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.frames = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._buffers_before = 0
        self._core_before = _core.allocations()
        self._calls = 0
        self._seconds = array("d", bytes(8 * _WINDOW))

    def warmed_up(self) -> None:
        """Allocations count from here."""
        self._buffers_before, self._core_before = self._memory.buffers, _core.allocations()

    def count(self, frames: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        self.frames += frames
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self._seconds[self._calls % _WINDOW] = seconds / frames
        self._calls += 1

    def stats(self) -> Stats:
        latencies = np.array(self._seconds[: min(self._calls, _WINDOW)] or [0.0]) * 1000
        p50, p90, p99, slowest = (float(each) for each in np.percentile(latencies, (50, 90, 99, 100)))
        grown = self._memory.buffers - self._buffers_before + _core.allocations() - self._core_before
        return Stats(self.frames, p50, p90, p99, slowest, self.bytes_in, self.bytes_out, grown)
