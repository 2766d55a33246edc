"""Arrays at ever new addresses are copied to and from buffers of the session's own, which graphs can be made for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Final

from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.graphs import Graphs
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.steps import LaneFrame

__all__ = ["Relocation"]

_NOTES: Final = (
    "",
    "frames come at ever new addresses, and are copied to buffers of the session's: use the same few again and again",
    "results go to ever new addresses, and are copied there: drop them after use, or use a small ring or out=",
)


class Relocation:
    """Copies nothing while addresses repeat; then the arrays of callers; and where that is not enough, all results."""

    def __init__(self, memory: DeviceMemory, graphs: Graphs) -> None:
        self._memory, self._graphs = memory, graphs
        self._level = 0
        self._buffers: dict[Hashable, DeviceArray] = {}

    @property
    def note(self) -> str:
        """The copies that are made, and the remedy."""
        return _NOTES[self._level]

    def bring(self, frames: Mapping[int, LaneFrame]) -> Mapping[int, LaneFrame]:
        """The frames at places that repeat. Pictures are copied there, mattes are to be written there."""
        if self._graphs.keys_never_repeat and self._level < len(_NOTES) - 1:
            self._level += 1
            self._graphs.clear()
        if not self._level:
            return frames
        return {lane: self._brought(lane, frame) for lane, frame in frames.items()}

    def take_back(self, frames: Mapping[int, LaneFrame], brought: Mapping[int, LaneFrame]) -> None:
        """Copy the mattes to where the frames want them."""
        for lane, frame in frames.items():
            for name, array in frame.matte.items():
                there = brought[lane].matte[name]
                if there is not array:
                    self._memory.copy(array.whole.own, there.whole)

    def _brought(self, lane: int, frame: LaneFrame) -> LaneFrame:
        pictures, matte = dict(frame.pictures), dict(frame.matte)
        for name, array in frame.pictures.items():
            if not isinstance(array, DeviceArray) or not array.caller_stream:
                continue
            whole = array.whole
            if whole.nbytes <= 2 * array.nbytes:
                pictures[name] = self._buffer((lane, name), array, whole)
                self._memory.copy(pictures[name].whole, whole.own)
        for name, array in frame.matte.items():
            # What lies between the values of an array with gaps is not ours to write.
            if (array.caller_stream or self._level > 1) and (whole := array.whole).nbytes == array.nbytes:
                matte[name] = self._buffer((lane, name), array, whole)
        return replace(frame, pictures=pictures, matte=matte)

    def _buffer(self, key: Hashable, array: DeviceArray, whole: DeviceArray) -> DeviceArray:
        """A buffer in which an array has the same strides. The CUDA stream for computing alone uses it."""
        key = (key, array.shape, array.strides, array.dtype)
        if key not in self._buffers:
            buffer = self._memory.zeros(whole.shape, whole.dtype)
            address = buffer.address + array.address - whole.address
            self._buffers[key] = DeviceArray.at(
                address, array.shape, array.dtype, array.device.id, buffer, strides=array.strides
            )
        return self._buffers[key]
