"""Run a program on the CPU: networks and ops over buffers that are allocated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trtmatte.backends.interface import Network
from trtmatte.format.program import Program
from trtmatte.runtime.session.background import Background
from trtmatte.runtime.session.cuts import SceneCuts
from trtmatte.runtime.session.lanes import (
    Lanes,
    lanes_of_groups,
    lanes_of_streams,
    shared_steps,
    stream_groups,
    streams_of,
)
from trtmatte.runtime.session.memory import Array, HostMemory
from trtmatte.runtime.session.pending import DONE, Pending
from trtmatte.runtime.session.states import States
from trtmatte.runtime.session.steps import LaneFrame, OutputSpec, Watch

__all__ = ["Executor", "FrameSchedule"]


class Executor:
    """Runs a program for `batch` streams, in groups as wide as the program was built for (`executors.Executor`)."""

    in_flight = 0

    def __init__(
        self, program: Program, networks: Mapping[str, Network], batch: int, spec: OutputSpec, scene_cut: float | None
    ) -> None:
        self.memory = HostMemory()
        self.states = States(program, batch, self.memory)
        self.groups = stream_groups(program, networks, self.states, spec, self.memory)
        self._cuts = None if scene_cut is None else SceneCuts([each.small_frame for each in self.groups], scene_cut)

    def schedule(self, program: Program) -> FrameSchedule:
        return FrameSchedule(lanes_of_groups(self.groups, program), self.states, self._cuts)

    def schedule_streams(self, programs: Mapping[int, Program]) -> FrameSchedule:
        return FrameSchedule(lanes_of_streams(self.groups, programs), self.states, self._cuts)

    def background_of(self, background: Background, frame: Array, time: int, streams: slice) -> Array:
        return background.at(frame, time, streams)

    def watch(self, watch: Watch) -> None:
        for group in self.groups:
            group.watch = watch

    def counts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Do nothing: every frame is complete when its call returns."""


class FrameSchedule:
    """The steps of every lane, for both sides of the states."""

    def __init__(self, lanes: Lanes, states: States, cuts: SceneCuts | None) -> None:
        self._lanes, self._states, self._cuts = lanes, states, cuts

    def run(self, frames: Mapping[int, LaneFrame]) -> Pending:
        lanes = [(self._lanes[number][self._states.side], frame) for number, frame in frames.items()]
        for steps, frame in lanes:
            for step in steps.sample:
                step(frame)
        streams = streams_of(steps for steps, _ in lanes)
        if self._cuts is not None and (slots := self._cuts.detect(streams)):
            self._states.save(slots)
            self._states.zero(slots)
        for shared in shared_steps(steps for steps, _ in lanes):
            shared()
        for steps, frame in lanes:
            for step in steps.finish:
                step(frame)
            for name, array in frame.small.items():
                np.copyto(array, steps.tensors[name])
        if self._cuts is not None:
            self._cuts.remember(streams)
        return DONE
