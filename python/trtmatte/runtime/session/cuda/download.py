"""The way out: results that callers want on the host are copied there, on a CUDA stream of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.buffers import Buffers, Side
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.memory import Array
from trtmatte.runtime.session.pending import DONE, Pending
from trtmatte.runtime.session.steps import LaneFrame, require_sane

__all__ = ["Download", "PendingFrame"]


class PendingFrame:
    """A frame whose results are on their way to the host."""

    def __init__(self, buffers: Buffers, side: Side) -> None:
        self._buffers, self._side = buffers, side

    def wait(self) -> None:
        self._buffers.settle(self._side)


class Download:
    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self.bytes = 0

    def copy_small(self, side: Side, frames: Mapping[int, LaneFrame]) -> None:
        """Copy the small outputs that stay on the device."""
        for lane, frame in frames.items():
            for name, to in frame.small.items():
                if isinstance(to, DeviceArray):
                    self._memory.copy(to, side.steps[lane].tensors[name])

    def fetch(
        self, buffers: Buffers, side: Side, frames: Mapping[int, LaneFrame], placed: Mapping[int, LaneFrame]
    ) -> Pending:
        """Begin to copy the results to the host. The result is done at once if none of them goes there."""
        before = self.bytes
        self._memory.download.wait(side.computed)
        for lane, frame in frames.items():
            sources = {**side.steps[lane].tensors, **placed[lane].matte}
            for name, to in (*frame.matte.items(), *frame.small.items()):
                if not isinstance(to, DeviceArray):
                    self._fetch_one(buffers, side, (lane, name, "detour"), to, sources[name])
        self._memory.download.record(side.downloaded)
        return PendingFrame(buffers, side) if self.bytes > before else DONE

    def require_sane(self, side: Side, frames: Mapping[int, LaneFrame]) -> None:
        """Check the small pictures of the host's float frames. Frames on the device are not checked: it would wait."""
        for lane, frame in frames.items():
            for picture, sample in side.steps[lane].samples.items():
                array = frame.pictures[picture]
                if isinstance(array, np.ndarray) and array.dtype != np.uint8:
                    require_sane(picture, self._memory.fetch(sample).astype(np.float32))

    def _fetch_one(self, buffers: Buffers, side: Side, key: tuple[Any, ...], to: Array, source: DeviceArray) -> None:
        self.bytes += to.nbytes
        if to.flags.c_contiguous:
            self._memory.copy(to, source, self._memory.download)
            return
        pinned, _ = buffers.arrival(side, key, to)
        self._memory.copy(pinned, source, self._memory.download)
        side.detours.append((to, pinned))
