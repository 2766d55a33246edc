"""Counters and latencies of a session."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np

from trtmatte import _core
from trtmatte.runtime.session.memory import Memory

_WINDOW: Final = 1024
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Stats:
    """Counters since the session was opened, and latencies of its last 1,024 calls. `print` shows them with units.

    On a CUDA device a frame is one launch of a graph, once the frames at its addresses have been seen twice.
    """

    frames: int
    """Frames of each stream. Calls of `step` and `each` count as one."""
    p50: float
    """Milliseconds a frame: half of the calls took no longer."""
    p90: float
    """Milliseconds a frame: nine in ten calls took no longer."""
    p99: float
    """Milliseconds a frame: 99 in a hundred calls took no longer."""
    slowest: float
    """Milliseconds a frame, of the slowest call."""
    bytes_in: int
    """Bytes copied in: none for arrays that are read in place. On a CUDA device, those from the host."""
    bytes_out: int
    """Bytes copied out: small outputs, none for mattes written in place. On a CUDA device, those to the host."""
    allocations: int
    """Buffers that the session and the native core got since the first frame: none in steady state."""
    launches: int = 0
    """Launches of CUDA graphs."""
    captures: int = 0
    """Frames that were captured into a CUDA graph."""
    note: str = ""
    """What prevents that a frame is one launch, or costs a copy."""

    def __str__(self) -> str:
        parts = [
            f"{self.frames} frames",
            f"{self.p50:.3g} ms a frame (p90 {self.p90:.3g} ms, p99 {self.p99:.3g} ms, slowest {self.slowest:.3g} ms)",
            f"{self.bytes_in / _MIB:.1f} MiB copied in, {self.bytes_out / _MIB:.1f} MiB out",
            f"{self.allocations} allocations",
        ]
        if self.launches or self.captures:
            parts.append(f"{self.launches} launches of CUDA graphs, {self.captures} captures")
        return "; ".join([*parts, self.note] if self.note else parts)


class Latencies:
    """The last 1,024 durations."""

    def __init__(self) -> None:
        self._seconds = array("d", bytes(8 * _WINDOW))
        self._count = 0

    def add(self, seconds: float) -> None:
        self._seconds[self._count % _WINDOW] = seconds
        self._count += 1

    def percentiles(self, *percent: float) -> list[float]:
        """Milliseconds that so many in a hundred took at most; zeros before the first."""
        milliseconds = np.array(self._seconds[: min(self._count, _WINDOW)] or [0.0]) * 1000
        return [float(each) for each in np.percentile(milliseconds, percent)]


class Counters:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.frames = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._buffers_before = 0
        self._core_before = _core.allocations()
        self._latencies = Latencies()

    def warmed_up(self) -> None:
        """Allocations count from here."""
        self._buffers_before, self._core_before = self._memory.buffers, _core.allocations()

    def count(self, frames: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        self.frames += frames
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self._latencies.add(seconds / frames)

    def stats(self) -> Stats:
        p50, p90, p99, slowest = self._latencies.percentiles(50, 90, 99, 100)
        grown = self._memory.buffers - self._buffers_before + _core.allocations() - self._core_before
        return Stats(self.frames, p50, p90, p99, slowest, self.bytes_in, self.bytes_out, grown)
