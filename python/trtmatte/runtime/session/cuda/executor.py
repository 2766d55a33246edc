"""A program on a CUDA device: a frame is copied in, run by one launch of a graph, and copied out.

Two sides take turns, in states and in all buffers that frames and mattes pass through, so that one frame is copied in
and another copied out while a third is computed. Events keep the order between the three CUDA streams. The host waits
only for results, and before it writes to pinned memory that the device still reads.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from trtmatte.backends.interface import DeviceNetwork
from trtmatte.format.program import Program
from trtmatte.runtime.session.background import Background, Blur
from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.buffers import Buffers
from trtmatte.runtime.session.cuda.compute import Blurred, Compute
from trtmatte.runtime.session.cuda.download import Download
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.cuda.upload import Upload
from trtmatte.runtime.session.lanes import Lanes, lanes_of_groups, lanes_of_streams, stream_groups
from trtmatte.runtime.session.memory import Array
from trtmatte.runtime.session.pending import Pending
from trtmatte.runtime.session.states import States
from trtmatte.runtime.session.steps import LaneFrame, OutputSpec, Watch

__all__ = ["Executor", "FrameSchedule"]


class TwoSided(States):
    """States whose program has two sides even without states, since its buffers have two."""

    @property
    def sides(self) -> tuple[int, ...]:
        return (0, 1)

    def flip(self) -> None:
        self.side = 1 - self.side


class Executor:
    """Runs a program on the device of `memory` (`executors.Executor`)."""

    in_flight = 1  # a frame is copied in while the one before is computed

    def __init__(
        self,
        program: Program,
        networks: Mapping[str, DeviceNetwork],
        batch: int,
        spec: OutputSpec,
        scene_cut: float | None,
        memory: DeviceMemory,
    ) -> None:
        dtypes = {name: kind for network in networks.values() for name, kind in network.dtypes.items()}
        self.memory = memory
        self.states: States = TwoSided(program, batch, memory, dtypes)
        self.groups = stream_groups(program, networks, self.states, spec, memory, dtypes)
        self.upload = Upload(memory)
        self.compute = Compute(
            memory,
            self.states,
            self.groups,
            scene_cut,
            obstacle="" if program.has_fixed_patches else "the number of patches depends on the picture",
        )
        self.download = Download(memory)
        self.buffers: Buffers | None = None  # of the last frame's size
        weakref.finalize(self, memory.wait)  # networks must not go while the device runs them
        # No method of this object: a cycle of objects with device memory could be freed during a capture.
        self._capture_obstacle = lambda: next(filter(None, (each.capture_obstacle() for each in networks.values())), "")

    def schedule(self, program: Program) -> FrameSchedule:
        return self._schedule(lanes_of_groups(self.groups, program))

    def schedule_streams(self, programs: Mapping[int, Program]) -> FrameSchedule:
        return self._schedule(lanes_of_streams(self.groups, programs))

    def _schedule(self, lanes: Lanes) -> FrameSchedule:
        """Buffers of another size may be freed from here on, on one CUDA stream: wait for the work of the others."""
        self.memory.wait()
        return FrameSchedule(self, Buffers(lanes, self.memory, self._capture_obstacle))

    def background_of(self, background: Background, frame: Array, time: int, streams: slice) -> Any:
        return Blurred(background, streams) if isinstance(background, Blur) else background.at(frame, time, streams)

    def watch(self, watch: Watch) -> None:
        """Wait for each step. Nothing is captured any more, since a graph has no steps."""

        def waited(title: str, step: Any) -> Any:
            def run(*arguments: Any) -> None:
                step(*arguments)
                self.memory.compute.sync()

            return watch(title, run)

        self.compute.obstacle = "each step is watched"
        for group in self.groups:
            group.watch = waited

    def counts(self) -> dict[str, Any]:
        return {
            "bytes_in": self.upload.bytes,
            "bytes_out": self.download.bytes,
            "launches": self.compute.launches,
            "captures": self.compute.captures,
            "note": self._note(),
        }

    def _note(self) -> str:
        if self.compute.obstacle:
            return f"frames are not captured: {self.compute.obstacle}"
        return "" if self.buffers is None else self.buffers.note

    def close(self) -> None:
        self.memory.wait()


class FrameSchedule:
    """The steps for frames of certain sizes: in, through, out."""

    def __init__(self, executor: Executor, buffers: Buffers) -> None:
        self._executor, self._buffers = executor, buffers

    def run(self, frames: Mapping[int, LaneFrame]) -> Pending:
        executor, buffers, memory = self._executor, self._buffers, self._executor.memory
        side = buffers.sides[executor.states.side]
        if side.detours:
            side.settle()
        if executor.buffers is not buffers:  # small outputs of its frames may still be on their way out
            memory.compute.wait(memory.download)
        callers = [memory.caller(number) for number in sorted(_caller_streams(frames))]
        placed = executor.upload.place(buffers, side, frames)
        for before in (side.uploaded, side.downloaded, *callers):
            memory.compute.wait(before)
        executor.compute.run(buffers, side, placed)
        executor.download.copy_small(side, frames)
        memory.compute.record(side.computed)
        memory.results.wait(side.computed)  # before results are freed there
        for caller in callers:
            caller.wait(side.computed)
        pending = executor.download.fetch(buffers, side, frames, placed)
        executor.download.require_sane(side, frames)
        executor.compute.remember(side, frames)
        side.held, executor.buffers = frames, buffers
        return pending


def _caller_streams(frames: Mapping[int, LaneFrame]) -> set[int]:
    """The CUDA streams on which the caller works with the given arrays."""
    arrays = [
        array
        for frame in frames.values()
        for each in (frame.pictures, frame.matte, frame.small)
        for array in each.values()
    ]
    return {array.caller_stream for array in arrays if isinstance(array, DeviceArray) and array.caller_stream}
