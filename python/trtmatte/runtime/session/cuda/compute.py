"""The way through: the steps of a frame, launched one by one or as a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from trtmatte.format.stages import BACKGROUND, FRAME, PLATE
from trtmatte.runtime.session.background import Blur
from trtmatte.runtime.session.cuda.arrays import DeviceArray
from trtmatte.runtime.session.cuda.buffers import Buffers, Side
from trtmatte.runtime.session.cuda.memory import DeviceMemory
from trtmatte.runtime.session.cuts import SceneCuts
from trtmatte.runtime.session.lanes import StreamGroup, shared_steps, streams_of
from trtmatte.runtime.session.states import States
from trtmatte.runtime.session.steps import LaneFrame

__all__ = ["Blurred", "Compute"]


class Blurred(NamedTuple):
    """A background that is made from the frame, once that is on the device."""

    blur: Blur
    streams: slice


class Compute:
    def __init__(
        self,
        memory: DeviceMemory,
        states: States,
        groups: Sequence[StreamGroup],
        scene_cut: float | None,
        *,
        obstacle: str,
    ) -> None:
        """`obstacle` is the reason why no frame of the program can be captured, or ""."""
        self._memory, self._states, self._groups = memory, states, groups
        self._seen: list[np.ndarray[Any, Any]] = []  # the small frames on the host, for scene cuts
        self._cuts = None
        if scene_cut is not None:
            self._seen = [memory.pinned(each.small_frame.shape, each.small_frame.dtype) for each in groups]
            self._cuts = SceneCuts(self._seen, scene_cut)
            obstacle = obstacle or "scene cuts are looked for on the host"
        self.obstacle = obstacle
        self.launches = self.captures = 0

    def run(self, buffers: Buffers, side: Side, frames: Mapping[int, LaneFrame]) -> None:
        """Put the work on frames that are on the device on the CUDA stream for computing."""
        if self.obstacle:
            self._enqueue(side, frames)
            return
        graphs = buffers.graphs
        launches, captures = graphs.launches, graphs.captures
        brought = buffers.relocation.bring(frames)
        key = (self._states.side, *((lane, _key(frame)) for lane, frame in brought.items()))
        graphs.run(key, lambda: self._enqueue(side, brought))
        buffers.relocation.take_back(frames, brought)
        self.launches += graphs.launches - launches
        self.captures += graphs.captures - captures

    def remember(self, side: Side, frames: Mapping[int, LaneFrame]) -> None:
        """Let the frames count where scene cuts are looked for."""
        if self._cuts is not None:
            self._cuts.remember(streams_of(side.steps[lane] for lane in frames))

    def _enqueue(self, side: Side, frames: Mapping[int, LaneFrame]) -> object:
        """Launch all steps. Returns the buffers of blurs, which a captured graph must keep alive."""
        lanes = [(side.steps[lane], frame) for lane, frame in frames.items()]
        for steps, frame in lanes:
            for step in steps.sample:
                step(frame)
        if self._cuts is not None:
            self._begin_scenes(self._cuts, streams_of(steps for steps, _ in lanes))
        for shared in shared_steps(steps for steps, _ in lanes):
            shared()
        for steps, frame in lanes:
            complete = self._with_background(frame)
            for step in steps.finish:
                step(complete)
        backgrounds = [frame.pictures.get(BACKGROUND) for frame in frames.values()]
        return [each.blur.buffers for each in backgrounds if isinstance(each, Blurred)]

    def _begin_scenes(self, cuts: SceneCuts, streams: Sequence[int]) -> None:
        for seen, group in zip(self._seen, self._groups, strict=True):
            self._memory.copy(seen, group.small_frame)
        self._memory.compute.sync()
        if slots := cuts.detect(streams):
            self._states.save()
            self._states.zero(slots)

    def _with_background(self, frame: LaneFrame) -> LaneFrame:
        blurred = frame.pictures.get(BACKGROUND)
        if not isinstance(blurred, Blurred):
            return frame
        picture = blurred.blur.at(frame.pictures[FRAME], 0, blurred.streams, self._memory.cuda_stream)
        return replace(frame, pictures={**frame.pictures, BACKGROUND: picture})


def _key(frame: LaneFrame) -> tuple[Any, ...]:
    """All that the work on a frame depends on. A blur stands for its own buffers."""
    pictures = tuple(
        (name, array.identity if isinstance(array, DeviceArray) else array.blur)
        for name, array in frame.pictures.items()
    )
    skips_plate = frame.same_plate and PLATE in frame.pictures
    return pictures, tuple((name, array.identity) for name, array in frame.matte.items()), skips_plate
