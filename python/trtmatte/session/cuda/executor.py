"""A program on a CUDA device: a frame is copied in, run by one launch of a graph, and copied out.

Two sides take turns, in states and in all buffers that frames and mattes pass through, so that a frame can come and
another go while a third is computed. The order between the three streams is kept by events; the host waits only before
it writes to pinned memory that is still being read, and for results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte.backends.cuda import DeviceNetwork
from trtmatte.program import BACKDROP, BACKGROUND, FRAME, OpStage, Program
from trtmatte.session.backdrop import Backdrop, Blur
from trtmatte.session.cpu import Lane, Pass
from trtmatte.session.cuda.arrays import DeviceArray
from trtmatte.session.cuda.graphs import Graphs
from trtmatte.session.cuda.memory import DeviceMemory
from trtmatte.session.cuts import SceneCuts
from trtmatte.session.memory import Array
from trtmatte.session.patches import selects_always_as_many
from trtmatte.session.states import States
from trtmatte.session.steps import Shot, Wanted, Watch, require_sane

_SIDES: Final = 2


class Blurred(NamedTuple):
    """A backdrop that is made of the frame, once that is on the device."""

    blur: Blur
    streams: slice


class TwoSided(States):
    """A program without states has two sides as well, since its buffers have."""

    @property
    def sides(self) -> tuple[int, ...]:
        return (0, 1)

    def flip(self) -> None:
        self.side = 1 - self.side


class Side:
    """The buffers through which frames of one size come and go every other time."""

    def __init__(self, passes: Sequence[Pass], memory: DeviceMemory) -> None:
        self.passes = passes
        self.uploaded, self.computed, self.downloaded = (memory.event() for _ in range(3))
        self.arrivals: dict[Hashable, tuple[np.ndarray[Any, Any], DeviceArray]] = {}  # pinned, and on the device
        self.departures: dict[Hashable, DeviceArray] = {}
        self.detours: list[tuple[Array, Array]] = []  # results to be copied to where the device cannot write them
        self.held: object = None  # the caller's arrays, which must not go before they have been read

    def settle(self) -> None:
        """Waits until the results of its last frame are there."""
        self.downloaded.sync()
        for to, source in self.detours:
            np.copyto(to, source)
        self.detours.clear()


class Plan:
    """The stages for frames of one size."""

    def __init__(self, lanes: Sequence[Sequence[Pass]], memory: DeviceMemory, can_capture: Callable[[], bool]) -> None:
        self.sides = [Side([lane[side] for lane in lanes], memory) for side in range(_SIDES)]
        self.graphs = Graphs(memory.compute, can_capture)
        self._memory = memory

    def settle(self, side: Side) -> None:
        """Waits until the results of a side's last frame are there, and those before it in a chunk."""
        for each in self.sides:
            if each is side or each.detours:
                each.settle()

    def arrival(self, side: Side, key: tuple[Any, ...], array: Array) -> tuple[np.ndarray[Any, Any], DeviceArray]:
        """Where a picture of the host's passes through. Both sides get theirs at once."""
        key = (*key, array.shape, array.dtype)
        if key not in side.arrivals:
            for each in self.sides:
                pinned = self._memory.pinned(array.shape, array.dtype)
                each.arrivals[key] = pinned, self._memory.zeros(array.shape, array.dtype)
        return side.arrivals[key]

    def departure(self, side: Side, key: tuple[Any, ...], array: Array) -> DeviceArray:
        """Where a matte for the host is written."""
        key = (*key, array.shape, array.dtype)
        if key not in side.departures:
            for each in self.sides:
                each.departures[key] = self._memory.zeros(array.shape, array.dtype)
        return side.departures[key]


class Executor:
    """As `cpu.Executor`, on a device. `dtypes` are of tensors that the networks have in types of their own."""

    lag = 1  # a frame is copied in while the one before is computed

    def __init__(
        self,
        program: Program,
        networks: Mapping[str, DeviceNetwork],
        batch: int,
        wanted: Wanted,
        scene_cut: float | None,
        memory: DeviceMemory,
        dtypes: Mapping[str, str],
    ) -> None:
        self.memory = memory
        self.states: States = TwoSided(program, batch, memory, dtypes)
        width = program.batch
        self.lanes = [
            Lane(program, networks, self.states, slice(first, first + width), wanted, memory, dtypes)
            for first in range(0, batch, width)
        ]
        self._seen: list[np.ndarray[Any, Any]] = []  # what scene cuts are seen on
        self._cuts = None
        if scene_cut is not None:
            self._seen = [memory.pinned(lane.small_frame.shape, lane.small_frame.dtype) for lane in self.lanes]
            self._cuts = SceneCuts(self._seen, scene_cut)
        self._waits = self._cuts is not None or _depends_on_the_frame(program)
        self._last: tuple[Plan, Side] | None = None
        self._bytes_in = self._bytes_out = self._launches = self._captures = 0
        self._graphs: Graphs | None = None
        self._can_capture = lambda: all(network.can_capture() for network in networks.values())

    def plan(self, program: Program) -> Plan:
        """The stages for frames of the size that `program` is for. Those for another size may go from here on, and
        their buffers are freed on one stream, which knows nothing of the others."""
        self.memory.wait()
        return Plan([lane.plan(program) for lane in self.lanes], self.memory, self._can_capture)

    def backdrop(self, backdrop: Backdrop, frame: Array, time: int, streams: slice) -> Any:
        """The picture behind these streams at one time, or how to make it of the frame."""
        return Blurred(backdrop, streams) if isinstance(backdrop, Blur) else backdrop.at(frame, time, streams)

    def run(self, plan: Plan, shots: Sequence[Shot]) -> None:
        """One frame of every stream. Counts once `states.flip` is called."""
        side, memory = plan.sides[self.states.side], self.memory
        if side.detours:
            side.settle()
        placed = self._place(plan, side, shots)
        callers = [memory.caller(number) for number in sorted(_callers(shots))]
        memory.compute.wait(side.uploaded)
        memory.compute.wait(side.downloaded)
        for caller in callers:
            memory.compute.wait(caller)
        self._compute(plan, side, placed)
        self._copy_small(side, shots)
        memory.compute.record(side.computed)
        for caller in callers:
            caller.wait(side.computed)
        fetched = self._fetch(plan, side, shots, placed)
        self._require_sane(side, shots)
        side.held, self._last, self._graphs = shots, (plan, side) if fetched else None, plan.graphs

    def arrival(self) -> Callable[[], object]:
        """What waits until the results of the last frame are there. Those on the device are left to their streams."""
        if self._last is None:
            return _nothing
        plan, side = self._last
        return lambda: plan.settle(side)

    def watch(self, watch: Watch) -> None:
        """As on the CPU. A step is waited for, so nothing is captured any more: a graph has no steps."""

        def waited(title: str, step: Callable[..., object]) -> Callable[..., object]:
            def run(*args: Any) -> None:
                step(*args)
                self.memory.compute.sync()

            return watch(title, run)

        self._waits = True
        for lane in self.lanes:
            lane.watch = waited

    def counts(self) -> dict[str, Any]:
        """What is counted here, by the names in `Stats`."""
        graphs = self._graphs
        return {
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "launches": self._launches,
            "captures": self._captures,
            "note": "" if graphs is None else graphs.note,
        }

    def close(self) -> None:
        """Waits for what is on its way."""
        self.memory.wait()

    # -----------------------------------------------------------------------------------------------------------------
    # In

    def _place(self, plan: Plan, side: Side, shots: Sequence[Shot]) -> list[Shot]:
        """The same shots with all arrays on the device."""
        side.uploaded.sync()  # the pinned memory has been read
        self.memory.upload.wait(side.computed)
        placed = []
        for lane, shot in enumerate(shots):
            pictures = {
                name: self._brought(plan, side, (lane, name), picture) for name, picture in shot.pictures.items()
            }
            matte = {
                name: array if isinstance(array, DeviceArray) else plan.departure(side, (lane, name), array)
                for name, array in shot.matte.items()
            }
            placed.append(replace(shot, pictures=pictures, matte=matte))
        self.memory.upload.record(side.uploaded)
        return placed

    def _brought(self, plan: Plan, side: Side, key: tuple[Any, ...], picture: Any) -> Any:
        if isinstance(picture, (DeviceArray, Blurred)):
            return picture
        pinned, array = plan.arrival(side, key, picture)
        np.copyto(pinned, picture)
        self.memory.copy(array, pinned, self.memory.upload)
        self._bytes_in += pinned.nbytes
        return array

    # -----------------------------------------------------------------------------------------------------------------
    # Through

    def _compute(self, plan: Plan, side: Side, shots: Sequence[Shot]) -> None:
        graphs = plan.graphs
        launches, captures = graphs.launches, graphs.captures
        if self._waits:
            self._enqueue(side, shots)
        else:
            graphs.run((self.states.side, *map(_key, shots)), lambda: self._enqueue(side, shots))
        self._launches += graphs.launches - launches
        self._captures += graphs.captures - captures

    def _enqueue(self, side: Side, shots: Sequence[Shot]) -> object:
        """Returns the buffers of blurs, which change with the size of any frame, also of one that fails afterwards."""
        for each, shot in zip(side.passes, shots, strict=True):
            for step in each.sample:
                step(shot)
        if self._cuts is not None:
            self._begin_scenes(self._cuts)
        for each, shot in zip(side.passes, shots, strict=True):
            complete = self._with_backdrop(shot)
            for step in each.finish:
                step(complete)
        backdrops = [shot.pictures.get(BACKDROP) for shot in shots]
        return [each.blur.buffers for each in backdrops if isinstance(each, Blurred)]

    def _begin_scenes(self, cuts: SceneCuts) -> None:
        for seen, lane in zip(self._seen, self.lanes, strict=True):
            self.memory.copy(seen, lane.small_frame)
        self.memory.compute.sync()
        if slots := cuts.detect():
            self.states.save()
            self.states.zero(slots)

    def _with_backdrop(self, shot: Shot) -> Shot:
        blurred = shot.pictures.get(BACKDROP)
        if not isinstance(blurred, Blurred):
            return shot
        picture = blurred.blur.at(shot.pictures[FRAME], 0, blurred.streams, self.memory.stream)
        return replace(shot, pictures={**shot.pictures, BACKDROP: picture})

    # -----------------------------------------------------------------------------------------------------------------
    # Out

    def _copy_small(self, side: Side, shots: Sequence[Shot]) -> None:
        """Small outputs that stay on the device."""
        for each, shot in zip(side.passes, shots, strict=True):
            for name, to in shot.small.items():
                if isinstance(to, DeviceArray):
                    self.memory.copy(to, each.tensors[name])

    def _fetch(self, plan: Plan, side: Side, shots: Sequence[Shot], placed: Sequence[Shot]) -> bool:
        """Puts the way of the results to the host on its stream, if any go there."""
        before = self._bytes_out
        self.memory.download.wait(side.computed)
        for lane, (each, shot, there) in enumerate(zip(side.passes, shots, placed, strict=True)):
            for name, to in (*shot.matte.items(), *shot.small.items()):
                if not isinstance(to, DeviceArray):
                    source = there.matte[name] if name in there.matte else each.tensors[name]
                    self._fetch_one(plan, side, (lane, name, "detour"), to, source)
        self.memory.download.record(side.downloaded)
        return self._bytes_out > before

    def _fetch_one(self, plan: Plan, side: Side, key: tuple[Any, ...], to: Array, source: DeviceArray) -> None:
        self._bytes_out += to.nbytes
        if to.flags.c_contiguous:
            self.memory.copy(to, source, self.memory.download)
            return
        pinned, _ = plan.arrival(side, key, to)
        self.memory.copy(pinned, source, self.memory.download)
        side.detours.append((to, pinned))

    def _require_sane(self, side: Side, shots: Sequence[Shot]) -> None:
        """Looks at what the network saw of the host's float frames. Those of a device are the caller's to vouch for,
        since looking at them would mean to wait."""
        for lane, each, shot in zip(self.lanes, side.passes, shots, strict=True):
            for picture, sample in lane.sampled(each.tensors).items():
                array = shot.pictures[picture]
                if isinstance(array, np.ndarray) and array.dtype != np.uint8:
                    require_sane(picture, self.memory.fetch(sample).astype(np.float32))


def _key(shot: Shot) -> tuple[Any, ...]:
    """All that the work on a frame depends on. A blur stands for its own buffers."""
    pictures = tuple(
        (name, array.identity if isinstance(array, DeviceArray) else array.blur)
        for name, array in shot.pictures.items()
    )
    skips = shot.same_background and BACKGROUND in shot.pictures
    return pictures, tuple((name, array.identity) for name, array in shot.matte.items()), skips


def _callers(shots: Sequence[Shot]) -> set[int]:
    """The streams on which the caller works with arrays of his."""
    arrays = [array for shot in shots for each in (shot.pictures, shot.matte, shot.small) for array in each.values()]
    return {array.caller_stream for array in arrays if isinstance(array, DeviceArray) and array.caller_stream}


def _depends_on_the_frame(program: Program) -> bool:
    """Whether there are patches, and how many is known only once a frame's are selected."""
    selects = [stage for stage in program.stages if isinstance(stage, OpStage) and stage.op == "PatchSelect"]
    return any(not selects_always_as_many(stage.attributes) for stage in selects)


def _nothing() -> None: ...
