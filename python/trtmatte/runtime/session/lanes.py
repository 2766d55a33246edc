"""A lane: the streams that go through the program side by side, their buffers, and the steps bound to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trtmatte.backends.interface import Network, Run
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import FRAME, NetworkStage, OpStage, Stage
from trtmatte.runtime.session.memory import Array, Memory
from trtmatte.runtime.session.patches import Refinement, Selection, piece_size, shape_of, works_on_patches
from trtmatte.runtime.session.states import States
from trtmatte.runtime.session.steps import (
    EstimateForeground,
    LaneFrame,
    OutputSpec,
    RunNetwork,
    SampleFrame,
    Step,
    Tensors,
    Watch,
    WriteMatte,
    unwatched,
)

LaneStep = Callable[[LaneFrame], object]
"""A step, or what watches it."""

SharedStep = Callable[[], object]
"""The same of a step that runs once for several lanes."""

Lanes = Mapping[int, Sequence["BoundSteps"]]
"""The steps of each lane by its number, for both sides of the states."""

__all__ = [
    "BoundSteps",
    "Lanes",
    "StreamGroup",
    "lanes_of_groups",
    "lanes_of_streams",
    "shared_steps",
    "stream_groups",
    "streams_of",
]


@dataclass(frozen=True)
class BoundSteps:
    """All steps of a frame, for one side of the states. `sample` makes the small pictures, `finish` does the rest.

    `shared` come between them: the networks of lanes that have one stream each, and share them.
    """

    streams: slice
    sample: tuple[LaneStep, ...]
    shared: tuple[SharedStep, ...]
    finish: tuple[LaneStep, ...]
    tensors: Tensors  # the program's outputs are found here afterwards
    samples: Tensors  # the pictures as the network sees them, by the pictures' names


class StreamGroup:
    """As many streams as the program was built for, and the buffers that they pass through."""

    def __init__(
        self,
        program: Program,
        networks: Mapping[str, Network],
        states: States,
        streams: slice,
        spec: OutputSpec,
        memory: Memory,
        dtypes: Mapping[str, str] | None = None,
    ) -> None:
        """`dtypes` gives the types of tensors that the networks have in other types than the program."""
        self.streams = streams
        self.watch: Watch = unwatched
        self._spec, self._memory = spec, memory
        self._piece = piece_size(program)
        self._samples = dict(_samples(program))
        needed = tuple(_needed(program, spec))
        small = _small_tensors(program, needed, dtypes or {})
        # On a device, outputs of one side are fetched while the other side is computed.
        apart = set(spec.outputs) if memory.cuda_stream is not None else set()
        self._small = {name: memory.zeros(*each) for name, each in small.items() if name not in apart}
        self._sides: list[Tensors] = [
            {
                **self._small,
                **{name: memory.zeros(*each) for name, each in small.items() if name in apart},
                **states.tensors(side, streams),
            }
            for side in states.sides
        ]
        self._networks = [stage for stage in needed if isinstance(stage, NetworkStage)]
        self._runs = [
            {
                stage.name: networks[stage.name].bind(
                    {name: tensors[name] for name in stage.inputs}, {name: tensors[name] for name in stage.outputs}
                )
                for stage in self._networks
            }
            for tensors in self._sides
        ]

    @property
    def small_frame(self) -> Array:
        """The frame as the network sees it."""
        return self._small[self._samples[FRAME]]

    def bind(self, program: Program) -> list[BoundSteps]:
        """The steps for frames of the size that `program` is for: one set for each side of the states."""
        return [self._bound(program, tensors, runs) for tensors, runs in zip(self._sides, self._runs, strict=True)]

    def bind_streams(self, programs: Mapping[int, Program]) -> dict[int, list[BoundSteps]]:
        """The steps for a frame of its own size in each of these streams: for each, a set for each side.

        The networks run once for all. What they make for streams without a frame counts for nothing.
        """
        bound: dict[int, list[BoundSteps]] = {stream: [] for stream in programs}
        for tensors, runs in zip(self._sides, self._runs, strict=True):
            shared = tuple(self._watched(RunNetwork(stage, runs[stage.name])) for stage in self._networks)
            for stream, program in programs.items():
                lane = stream - self.streams.start
                own = {name: array[lane : lane + 1] for name, array in tensors.items()}
                steps = self._bound(program, own, {})
                bound[stream].append(replace(steps, streams=slice(stream, stream + 1), shared=shared))
        return bound

    def _bound(self, program: Program, tensors: Tensors, runs: Mapping[str, Run]) -> BoundSteps:
        """`runs` has no network where others run it."""
        sample: list[LaneStep] = []
        finish: list[LaneStep] = []
        on_patches: list[Callable[..., object]] = []
        selection = None
        cuda_stream = self._memory.cuda_stream
        for stage in _needed(program, self._spec):
            if isinstance(stage, NetworkStage):
                if stage.name not in runs:
                    continue
                run = self._watched(RunNetwork(stage, runs[stage.name]))
                (on_patches if works_on_patches(stage, program) else finish).append(run)
            elif stage.op == "FrameSample":
                sample.append(self._watched(SampleFrame(stage, tensors, self._spec.color, cuda_stream)))
            elif stage.op == "ForegroundEstimate":
                finish.append(self._watched(EstimateForeground(stage, tensors, self._spec.color, self._memory)))
            elif stage.op == "PatchSelect":
                selection = Selection(stage, program, self._piece, tensors, self._memory)
                finish.append(self._watched(selection))
            elif stage.op == "PatchScatter":
                assert selection is not None
                refinement = Refinement(program, selection, tensors, on_patches, self._spec, self._memory, self.watch)
                finish += [refinement.refine, self._watched(refinement.scatter)]
            elif stage.op != "PatchCrop":  # the refinement runs it
                finish.append(self._watched(WriteMatte(stage, tensors, self._spec, cuda_stream)))
        samples = {picture: tensors[name] for picture, name in self._samples.items() if name in tensors}
        tensors = {**tensors, **(selection.tensors if selection else {})}
        return BoundSteps(self.streams, tuple(sample), (), tuple(finish), tensors, samples)

    def _watched(self, step: Step) -> Callable[..., object]:
        return self.watch(step.title, step)


def stream_groups(
    program: Program,
    networks: Mapping[str, Network],
    states: States,
    spec: OutputSpec,
    memory: Memory,
    dtypes: Mapping[str, str] | None = None,
) -> list[StreamGroup]:
    """The groups that all streams of a session are divided into."""
    width = program.batch
    return [
        StreamGroup(program, networks, states, slice(first, first + width), spec, memory, dtypes)
        for first in range(0, states.batch, width)
    ]


def lanes_of_groups(groups: Sequence[StreamGroup], program: Program) -> Lanes:
    """A lane for each group: a frame of one size in every stream."""
    return {number: group.bind(program) for number, group in enumerate(groups)}


def lanes_of_streams(groups: Sequence[StreamGroup], programs: Mapping[int, Program]) -> Lanes:
    """A lane for each of these streams: a frame of its own size in each. A group without a frame does nothing."""
    lanes: dict[int, list[BoundSteps]] = {}
    for group in groups:
        members = range(group.streams.start, group.streams.stop)
        lanes |= group.bind_streams({stream: programs[stream] for stream in members if stream in programs})
    return lanes


def streams_of(lanes: Iterable[BoundSteps]) -> list[int]:
    """The streams that pass through these lanes."""
    return [stream for steps in lanes for stream in range(steps.streams.start, steps.streams.stop)]


def shared_steps(lanes: Iterable[BoundSteps]) -> Iterable[SharedStep]:
    """The steps that lanes share, each once."""
    return dict.fromkeys(step for steps in lanes for step in steps.shared)


def _needed(program: Program, spec: OutputSpec) -> list[Stage]:
    """The stages that the outputs and the states depend on. Where nobody wants them, the matte reads no colours."""
    names = {*spec.outputs, *(state.output for state in program.states)}
    stages: list[Stage] = []
    for stage in reversed(program.stages):
        if names.intersection(stage.outputs):
            if not spec.wants_colours and isinstance(stage, OpStage) and stage.op == "MatteUpsample":
                frame, alpha, *_, background = stage.inputs
                stage = replace(stage, inputs=(frame, alpha, background))
            stages.append(stage)
            names.update(stage.inputs)
    return stages[::-1]


def _small_tensors(
    program: Program, stages: Sequence[Stage], dtypes: Mapping[str, str]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of what the stages make, except states and the buffers of a `Refinement`."""
    elsewhere = {name for state in program.states for name in (state.input, state.output)} | set(MATTE_OUTPUTS)
    makers = (stage for stage in stages if not (isinstance(stage, OpStage) and stage.op == "PatchSelect"))
    names = {name for stage in makers for name in stage.outputs if name} - elsewhere
    kinds = {name: dtypes.get(name, program.tensors[name].dtype) for name in sorted(names)}
    return {name: (shape_of(program, name), kind) for name, kind in kinds.items()}


def _samples(program: Program) -> Iterator[tuple[str, str]]:
    """The pictures, and the tensors that they are sampled to."""
    for stage in program.stages:
        if isinstance(stage, OpStage) and stage.op == "FrameSample":
            yield stage.inputs[0], stage.outputs[0]
