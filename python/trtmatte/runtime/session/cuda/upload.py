"""The way in: pictures of the host are copied to the device, on a CUDA stream of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trtmatte import _core
from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.buffers import Buffers, Side
from trtmatte.runtime.session.cuda.compute import Blurred
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.steps import LaneFrame

__all__ = ["Upload"]


class Upload:
    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self.bytes = 0

    def place(self, buffers: Buffers, side: Side, frames: Mapping[int, LaneFrame]) -> dict[int, LaneFrame]:
        """The same frames with all arrays on the device: pictures are copied there, mattes get buffers there."""
        side.uploaded.sync()  # the device has read the pinned memory
        self._memory.upload.wait(side.computed)
        placed = {}
        for lane, frame in frames.items():
            pictures = {
                name: self._brought(buffers, side, (lane, name), picture) for name, picture in frame.pictures.items()
            }
            matte = {
                name: array if isinstance(array, DeviceArray) else buffers.departure(side, (lane, name), array)
                for name, array in frame.matte.items()
            }
            placed[lane] = replace(frame, pictures=pictures, matte=matte)
        self._memory.upload.record(side.uploaded)
        return placed

    def _brought(self, buffers: Buffers, side: Side, key: tuple[Any, ...], picture: Any) -> Any:
        if isinstance(picture, (DeviceArray, Blurred)):
            return picture
        pinned, array = buffers.arrival(side, key, picture)
        _core.copy(pinned, picture)  # on all threads
        self._memory.copy(array, pinned, self._memory.upload)
        self.bytes += pinned.nbytes
        return array
