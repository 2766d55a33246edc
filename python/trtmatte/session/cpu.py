"""A program on the CPU: networks bound to buffers that stay where they are, ops between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from trtmatte.backends import Network, Run
from trtmatte.program import FRAME, MATTE, NetworkStage, OpStage, Program, Stage
from trtmatte.session import steps
from trtmatte.session.backdrop import Backdrop
from trtmatte.session.cuts import SceneCuts
from trtmatte.session.memory import Array, HostMemory, Memory
from trtmatte.session.patches import Refinement, Selection, piece_size, shape_of, works_on_patches
from trtmatte.session.states import States
from trtmatte.session.steps import Shot, Step, Tensors, Wanted, Watch, title, unwatched


@dataclass(frozen=True)
class Pass:
    """All stages for one side of the states. `sample` makes the small pictures, `finish` does the rest."""

    sample: tuple[Step, ...]
    finish: tuple[Step, ...]
    tensors: Tensors  # where the program's outputs are found afterwards


Plan = Sequence[Sequence[Pass]]  # by lane, then by side


class Executor:
    """A program for `batch` streams, which go through it in lanes as wide as it was built for.

    What depends on the size of the frame is in the plan, all else is here and stays.
    """

    lag = 0  # frames that are worth having on the way at once, besides the one that is waited for

    def __init__(
        self, program: Program, networks: Mapping[str, Network], batch: int, wanted: Wanted, scene_cut: float | None
    ) -> None:
        self.memory = HostMemory()
        self.states = States(program, batch, self.memory)
        width = program.batch
        self.lanes = [
            Lane(program, networks, self.states, slice(first, first + width), wanted, self.memory)
            for first in range(0, batch, width)
        ]
        self._cuts = SceneCuts([lane.small_frame for lane in self.lanes], scene_cut) if scene_cut is not None else None

    def plan(self, program: Program) -> Plan:
        """The stages for frames of the size that `program` is for."""
        return [lane.plan(program) for lane in self.lanes]

    def run(self, plan: Plan, shots: Sequence[Shot]) -> None:
        """One frame of every stream. Counts once `states.flip` is called."""
        passes = [sides[self.states.side] for sides in plan]
        for each, shot in zip(passes, shots, strict=True):
            for step in each.sample:
                step(shot)
        if self._cuts is not None and (slots := self._cuts.detect()):
            self.states.save()
            self.states.zero(slots)
        for each, shot in zip(passes, shots, strict=True):
            for step in each.finish:
                step(shot)
            for name, array in shot.small.items():
                np.copyto(array, each.tensors[name])

    def backdrop(self, backdrop: Backdrop, frame: Array, time: int, streams: slice) -> Array:
        """The picture behind these streams at one time."""
        return backdrop.at(frame, time, streams)

    def watch(self, watch: Watch) -> None:
        """Has the steps of the plans that are made from now on go through `watch`."""
        for lane in self.lanes:
            lane.watch = watch

    def counts(self) -> dict[str, Any]:
        """What is counted here, by the names in `Stats`."""
        return {}

    def close(self) -> None:
        """Nothing is on its way."""

    def arrival(self) -> Callable[[], object]:
        """What waits until the results of the last frame are there. Here they are."""
        return _nothing


class Lane:
    """As many streams as the program was built for, and the buffers that they pass through."""

    def __init__(
        self,
        program: Program,
        networks: Mapping[str, Network],
        states: States,
        streams: slice,
        wanted: Wanted,
        memory: Memory,
        dtypes: Mapping[str, str] | None = None,
    ) -> None:
        """`dtypes` are of tensors that the networks have in other types than the program says."""
        self.streams = streams
        self.watch: Watch = unwatched
        self._wanted, self._memory = wanted, memory
        self._piece = piece_size(program)
        self._samples = dict(_samples(program))
        needed = tuple(_needed(program, wanted))
        small = _small_tensors(program, needed, dtypes or {})
        # On a device, outputs of one side are fetched while the other side is computed.
        apart = set(wanted.outputs) if memory.stream is not None else set()
        self._small = {name: memory.zeros(*each) for name, each in small.items() if name not in apart}
        self._sides: list[Tensors] = [
            {
                **self._small,
                **{name: memory.zeros(*each) for name, each in small.items() if name in apart},
                **states.tensors(side, streams),
            }
            for side in states.sides
        ]
        self._runs = [
            {
                stage.name: networks[stage.name].bind(
                    {name: tensors[name] for name in stage.inputs}, {name: tensors[name] for name in stage.outputs}
                )
                for stage in needed
                if isinstance(stage, NetworkStage)
            }
            for tensors in self._sides
        ]

    @property
    def small_frame(self) -> Array:
        """The frame as the network sees it."""
        return self._small[self._samples[FRAME]]

    def sampled(self, tensors: Tensors) -> dict[str, Array]:
        """The pictures as the network sees them."""
        return {picture: tensors[name] for picture, name in self._samples.items() if name in tensors}

    def plan(self, program: Program) -> list[Pass]:
        return [self._pass(program, tensors, runs) for tensors, runs in zip(self._sides, self._runs, strict=True)]

    def _pass(self, program: Program, tensors: Tensors, runs: Mapping[str, Run]) -> Pass:
        sample: list[Step] = []
        finish: list[Step] = []
        on_patches: list[Run] = []
        selection = None
        for stage in _needed(program, self._wanted):
            watched = partial(self.watch, title(stage))
            if isinstance(stage, NetworkStage):
                run = runs[stage.name]
                if works_on_patches(stage, program):
                    on_patches.append(watched(run))
                else:
                    finish.append(watched(steps.network(run)))
            elif stage.op == "FrameSample":
                sample.append(watched(steps.frame_sample(stage, tensors, self._wanted.color, self._memory.stream)))
            elif stage.op == "PatchSelect":
                selection = Selection(stage, program, self._piece, tensors, self._memory)
                finish.append(watched(selection.select))
            elif stage.op == "PatchScatter":
                assert selection is not None
                refinement = Refinement(program, selection, tensors, on_patches, self._wanted, self._memory, self.watch)
                finish += [refinement.refine, watched(refinement.scatter)]
            elif stage.op != "PatchCrop":  # which is a part of the refinement
                finish.append(watched(steps.matte(stage, tensors, self._wanted, self._memory.stream)))
        return Pass(tuple(sample), tuple(finish), {**tensors, **(selection.tensors if selection else {})})


def _needed(program: Program, wanted: Wanted) -> list[Stage]:
    """The stages without which the outputs or the states would be missing."""
    names = {*wanted.outputs, *(state.output for state in program.states)}
    stages: list[Stage] = []
    for stage in reversed(program.stages):
        if names.intersection(stage.outputs):
            stages.append(stage)
            names.update(stage.inputs)
    return stages[::-1]


def _small_tensors(
    program: Program, stages: Sequence[Stage], dtypes: Mapping[str, str]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of what the stages make, but for states and what a `Refinement` keeps itself."""
    elsewhere = {name for state in program.states for name in (state.input, state.output)} | set(MATTE)
    makers = (stage for stage in stages if not (isinstance(stage, OpStage) and stage.op == "PatchSelect"))
    names = {name for stage in makers for name in stage.outputs if name} - elsewhere
    kinds = {name: dtypes.get(name, program.tensors[name].dtype) for name in sorted(names)}
    return {name: (shape_of(program, name), kind) for name, kind in kinds.items()}


def _nothing() -> None: ...


def _samples(program: Program) -> Iterator[tuple[str, str]]:
    """The pictures, and the tensors that they are sampled to."""
    for stage in program.stages:
        if isinstance(stage, OpStage) and stage.op == "FrameSample":
            yield stage.inputs[0], stage.outputs[0]
