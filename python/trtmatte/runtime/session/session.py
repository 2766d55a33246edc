"""A session runs a program for one stream of frames, or for a fixed number of streams in lockstep."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from trtmatte.errors import FrameError, SettingError
from trtmatte.format.file import EngineFile
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import BACKGROUND, FRAME, PLATE
from trtmatte.ops import Color, Layout
from trtmatte.runtime.choice import Choice, choose
from trtmatte.runtime.session import forks
from trtmatte.runtime.session.arrays import is_image, load_image
from trtmatte.runtime.session.background import Background, Picture, read_background
from trtmatte.runtime.session.background import snapshot as snapshot_background
from trtmatte.runtime.session.executors import FrameSchedule, open_executor
from trtmatte.runtime.session.frames import Frames, broadcast_batch, read_frames, require_same_size, require_streams
from trtmatte.runtime.session.matte import Matte
from trtmatte.runtime.session.options import BackendName, Device, Dtype, Outputs
from trtmatte.runtime.session.pending import Pending
from trtmatte.runtime.session.pool import KEPT, Pool
from trtmatte.runtime.session.ring import Results, Ring, Shapes, caller_results, slice_at
from trtmatte.runtime.session.settings import Settings, in_new_words
from trtmatte.runtime.session.states import checked_slots
from trtmatte.runtime.session.stats import Counters, Stats
from trtmatte.runtime.session.steps import LaneFrame, Watch
from trtmatte.runtime.session.turns import Turns
from trtmatte.support.read_ahead import ReadAhead

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray[Any, Any]

_READ_AHEAD: Final = 2  # frames
_SCHEDULES: Final = 2  # for streams with frames of their own sizes, which on a GPU have buffers for all of them

Size = tuple[int, int]


@dataclass
class _Sized:
    """Everything that depends on the size of the frames."""

    size: Size
    schedule: FrameSchedule
    program: Program
    places: Ring | Pool | None = None


@dataclass
class _Stream:
    """One stream of a session."""

    size: Size | None = None  # of its last frame
    places: Ring | Pool | None = None  # of the mattes of `step`


@dataclass(frozen=True)
class _Call:
    """The arguments of a call, checked."""

    frames: Frames
    plate: Frames | None
    background: Background | None
    own_plate: bool  # the session's, not the call's

    @property
    def pictures(self) -> dict[str, Array]:
        """The arrays that are read, by name."""
        behind = self.background.frames if isinstance(self.background, Picture) else None
        named = {FRAME: self.frames, PLATE: self.plate, BACKGROUND: behind}
        return {name: frames.array for name, frames in named.items() if frames is not None}


class Session:
    """Frames in, mattes out.

    >>> session = trtmatte.load("rvm-hd.trtm").session()
    >>> for frame in frames:
    ...     fgr, pha = session(frame)

    `outputs` are any of `fgr`, `pha`, `rgba`, `composite`, and the model's small outputs; left out, `fgr` and `pha`.
    `dtype` and `layout` are those of mattes; small outputs are float32 with channels first. Frames are uint8 (0…255) or
    float (0…1), channels first or last. `color` is that of frames, pictures and mattes. PIL images and colours are
    always RGB.

    `background` is put behind the subject in a composite: a colour, a picture, `"blur"`. `plate` is the photographed
    empty scene that BackgroundMattingV2 needs. Both can be given here, or with each frame.

    `batch` is the number of streams that are matted side by side, a multiple of the engine's batch. `scene_cut` resets
    the states of a stream when its picture changes by more than that on average, 0…1.

    Models that predict alpha alone show the foreground in colours that are estimated, without the old background in
    its edges. With `raw_foreground` they are the frame's own.

    The arrays of a result are the caller's, and never change. The session takes them back when the caller has dropped
    them, so that it allocates nothing for callers who drop results. `ring=N` writes to N sets of arrays in turn: a
    result is overwritten N calls later. `out=` writes into the caller's arrays.

    `device` is "cpu", "cuda" or "cuda:N"; left out, a GPU if it can run the engine, else the CPU. On a GPU, frames from
    the host come back to the host. Frames on the GPU are read in place, and their mattes stay there: work with both on
    one CUDA stream, the current one of torch or CuPy, and the order is right. `trtmatte.from_device` makes frames of
    pointers, and names the CUDA stream of arrays that do not. Float frames on a GPU are not checked for NaN. `stream`
    runs one frame ahead there of the matte that it has given, and so do the states.

    All buffers are allocated at the first frame of a size. A call that raises leaves the states unchanged. Calls from
    several threads wait for each other; frames count in the order in which they come.
    """

    def __init__(
        self,
        engine: EngineFile,
        *,
        backend: BackendName = "auto",
        device: Device | None = None,
        outputs: Outputs | None = None,
        dtype: Dtype = "uint8",
        layout: Layout = "HWC",
        color: Color = "rgb",
        plate: Any = None,
        background: Any = None,
        batch: int | None = None,
        ring: int | None = None,
        scene_cut: float | None = None,
        raw_foreground: bool = False,
        backdrop: Any = None,  # an old name of `background`
    ) -> None:
        given = Settings(
            backend,
            device,
            outputs,
            dtype,
            layout,
            color,
            plate,
            background,
            batch,
            ring,
            scene_cut,
            raw_foreground,
            backdrop,
        )
        settings = given.completed(engine.program)
        self._open(engine, settings, choose(backend, device, engine))

    def _open(self, engine: EngineFile, settings: Settings, choice: Choice) -> None:
        self._engine, self._settings = engine, settings
        self._program = engine.program
        self._needs_plate = PLATE in self._program.pictures
        self._executor, self._choice = open_executor(engine, choice, settings)
        forks.remember(self._executor)
        self._states, self._memory = self._executor.states, self._executor.memory
        with self._memory.entered():
            plate, background = settings.plate, settings.background
            self._plate = None if plate is None else self._read_plate(plate).snapshot(self._memory)
            self._background = (
                None if background is None else snapshot_background(self._read_background(background), self._memory)
            )
        self._sized: _Sized | None = None
        self._streams = [_Stream() for _ in range(settings.batch)]
        self._schedules: OrderedDict[tuple[Size | None, ...], FrameSchedule] = OrderedDict()  # by the streams' sizes
        self._has_plate = False  # the small plate that the network sees is the session's own
        self._counters = Counters(self._memory)
        self._matte_names = settings.spec.matte
        self._small_names = tuple(name for name in settings.outputs if name not in MATTE_OUTPUTS)
        self._turns = Turns()
        self._closed = False

    # -----------------------------------------------------------------------------------------------------------------
    # Frames

    def __call__(
        self, frame: Any, plate: Any = None, *, background: Any = None, out: Any = None, backdrop: Any = None
    ) -> Matte:
        """The matte of a frame, of one frame of each stream, or of a chunk: `(batch, time, …)`, in the order of time.

        `out` gives an array for each output, by name or in their order. `backdrop` is an old name of `background`.
        """
        with self._alone():
            return self._run(frame, plate, background, backdrop, out).matte

    def stream(
        self,
        frames: Iterable[Any],
        *,
        plates: Iterable[Any] | None = None,
        backgrounds: Iterable[Any] | None = None,
        backdrops: Iterable[Any] | None = None,  # an old name of `backgrounds`
    ) -> Iterator[Matte]:
        """The mattes of frames in turn, while another thread reads the next ones.

        The iterators are read up to two frames ahead: do not overwrite their arrays before that.
        """
        pictures = (repeat(None) if each is None else each for each in (plates, backgrounds, backdrops))
        ahead = ReadAhead(map(_decoded, frames, *pictures), _READ_AHEAD)
        begun: deque[_Begun] = deque()
        try:
            for frame, plate, background, backdrop in ahead:
                with self._alone():
                    begun.append(self._run(frame, plate, background, backdrop, wait=False))
                    in_flight = self._executor.in_flight
                if len(begun) > in_flight:
                    yield self._finished(begun.popleft())
            while begun:
                yield self._finished(begun.popleft())
        except Exception:
            while begun:  # frames before the failed one are complete
                yield self._finished(begun.popleft())
            raise
        finally:
            ahead.close()

    def each(self, pictures: Sequence[Any], *, backgrounds: Sequence[Any] | None = None) -> list[Matte]:
        """The mattes of single pictures of any sizes, which pass through the network together: one in each stream.

        They may be fewer than the streams. All streams are reset before and after. For models that need no plate.
        """
        with self._alone():
            return self._run_each(list(pictures), backgrounds)

    def step(self, frames: Mapping[int, Any], *, backgrounds: Mapping[int, Any] | None = None) -> dict[int, Matte]:
        """The mattes of one frame in each of some streams, by the numbers of the streams.

        The frames may be of different sizes. The other streams stay as they are. `backgrounds` has those of streams
        that want another one than the session's. For models that need no plate.

        >>> mattes = session.step({0: frame, 3: another})
        """
        with self._alone():
            return self._step(frames, backgrounds or {})

    # -----------------------------------------------------------------------------------------------------------------
    # States

    def reset(self, slots: Sequence[int] | int | None = None) -> None:
        """Reset all streams, or only these slots."""
        with self._alone():
            self._require_open()
            self._states.zero(checked_slots(slots, self._settings.batch))

    @property
    def state(self) -> dict[str, Array]:
        """Copies of the states by name. Setting them continues from there."""
        with self._alone():
            self._require_open()
            return self._states.get()

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        with self._alone():
            self._require_open()
            self._states.set(values)

    def fork(self) -> Self:
        """Another session over the same networks that continues from here."""
        with self._alone():
            self._require_open()
            twin = object.__new__(type(self))
            twin._open(self._engine, self._settings, self._choice)
            twin._states.set(self._states.get())
            twin._streams = [_Stream(stream.size) for stream in self._streams]
            return twin

    # -----------------------------------------------------------------------------------------------------------------
    # Properties and life time

    @property
    def engine(self) -> EngineFile:
        return self._engine

    @property
    def backend(self) -> str:
        """The name of the backend that runs the networks."""
        return self._choice.backend.name

    @property
    def device(self) -> str:
        """The device that runs the session: "cpu" or "cuda:N"."""
        return "cpu" if self._choice.device is None else f"cuda:{self._choice.device}"

    @property
    def outputs(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self._settings.outputs
        return names

    def stats(self) -> Stats:
        """Counters and latencies so far."""
        stats = self._counters.stats()
        executor = self.__dict__.get("_executor")  # another thread may close the session now
        return stats if executor is None else replace(stats, **executor.counts())

    def watch(self, watch: Watch) -> None:
        """Pass every step from the next frame on through `watch(title, step)`, which returns the step to run instead.

        `trtmatte.reports.profile` times the steps in this way. On a GPU each step is then waited for.
        """
        with self._alone():
            self._require_open()
            self._executor.watch(watch)
            self._sized = None  # bind the steps again
            self._schedules.clear()

    def close(self) -> None:
        """Free the buffers. Results that were handed out stay valid."""
        with self._alone():
            if not self._closed:
                self._executor.close()
            self._closed = True
            self._sized = None
            self._schedules.clear()
            self.__dict__.pop("_executor", None)
            self.__dict__.pop("_states", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        batch = self._settings.batch
        streams = "" if batch == 1 else f", {batch} streams"
        state = "closed" if self._closed else f"{', '.join(self.outputs)} by {self.backend} on {self.device}{streams}"
        return f"<Session {self._program.family} {self._program.variant}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a session cannot be pickled or copied: its buffers and threads are of this process; pickle its engine "
            "(session.engine) and open a session of it there, or continue from here with session.fork()"
        )

    # -----------------------------------------------------------------------------------------------------------------
    # One call

    def _run(
        self, frame: Any, plate: Any, background: Any, backdrop: Any, out: Any = None, *, wait: bool = True
    ) -> _Begun:
        """Begin a frame; with `wait`, complete it. Nothing counts unless all of it succeeds."""
        began = perf_counter()
        self._require_open()
        return self._run_call(self._read(frame, plate, background, backdrop), out, wait, began)

    def _run_call(self, call: _Call, out: Any, wait: bool, began: float) -> _Begun:
        sized = self._for_size(call.frames)
        results = self._results(sized, call, out)
        before, side = self._sized, self._states.side
        try:
            pending = self._run_times(sized, call, results)
            if wait:
                pending.wait()
            self._commit(sized, call, results, perf_counter() - began)
        except BaseException:
            self._sized = before
            self._states.restore(side)
            raise
        return _Begun(self._matte(results), pending)

    def _run_each(self, pictures: list[Any], backgrounds: Sequence[Any] | None) -> list[Matte]:
        began = perf_counter()
        self._require_open()
        calls = self._read_each(pictures, backgrounds)
        programs = {number: self._engine.for_frame(*call.frames.size) for number, call in calls.items()}
        results = {
            number: self._shapes(programs[number], call.frames).allocate(self._memory) for number, call in calls.items()
        }
        self._states.zero()  # a frame writes the other side, which never counts here
        self._has_plate = False
        try:
            self._executor.schedule_streams(programs).run(self._stream_frames(calls, results)).wait()
        finally:
            self._states.forget()
        self._count(calls.values(), results.values(), perf_counter() - began)
        return [self._matte(result) for result in results.values()]

    def _step(self, frames: Mapping[int, Any], backgrounds: Mapping[int, Any]) -> dict[int, Matte]:
        began = perf_counter()
        self._require_open()
        calls = self._read_step(frames, backgrounds)
        if not calls:
            return {}
        if self._settings.batch == 1:  # as any other call
            return {slot: self._run_call(call, None, True, began).matte for slot, call in calls.items()}
        sizes = [calls[slot].frames.size if slot in calls else each.size for slot, each in enumerate(self._streams)]
        schedule = self._schedule_for(tuple(sizes))
        places = {slot: self._places_in(self._streams[slot], call) for slot, call in calls.items()}
        results = {slot: each.take() for slot, each in places.items()}
        side = self._states.side
        try:
            self._begin_streams({slot: call.frames.size for slot, call in calls.items()})
            self._has_plate = False
            schedule.run(self._stream_frames(calls, results)).wait()
            self._states.advance(calls.keys())
            self._count(calls.values(), results.values(), perf_counter() - began)
            self._states.forget()
        except BaseException:
            self._states.restore(side)
            raise
        for slot, call in calls.items():
            self._streams[slot] = _Stream(call.frames.size, places[slot])
            places[slot].count(results[slot])
        return {slot: self._matte(result) for slot, result in results.items()}

    def _matte(self, results: Results) -> Matte:
        return Matte(results.for_caller, self._settings.layout, self._settings.color)

    def _finished(self, begun: _Begun) -> Matte:
        with self._alone():
            begun.pending.wait()
        return begun.matte

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time, with the session's device current."""
        with self._turns.taken(), self._memory.entered():
            yield

    def _require_open(self) -> None:
        if self._closed:
            raise FrameError("the session is closed; open another with engine.session()")

    def _read(self, frame: Any, plate: Any, background: Any, backdrop: Any) -> _Call:
        """Check everything that can be checked before anything is computed."""
        frames = read_frames(frame, FRAME, self._settings.color, self._memory)
        require_streams(FRAME, frames, self._settings.batch)
        if plate is not None or background is not None or backdrop is not None:
            try:
                plate, background = in_new_words(
                    self._program, self.outputs, plate=plate, background=background, backdrop=backdrop
                )
            except SettingError as error:
                raise FrameError(str(error)) from error
        plates = self._plate_of(plate, frames)
        return _Call(frames, plates, self._background_of(background, frames), plates is self._plate)

    def _read_each(self, pictures: list[Any], backgrounds: Sequence[Any] | None) -> dict[int, _Call]:
        batch = self._settings.batch
        self._require_no_plate("pass one picture after another")
        if not 1 <= len(pictures) <= batch:
            raise FrameError(f"there are {len(pictures)} pictures; expected 1 to {batch}, the streams of this session")
        behind = [None] * len(pictures) if backgrounds is None else list(backgrounds)
        if len(behind) != len(pictures):
            raise FrameError(f"there are {len(behind)} backgrounds; expected one for each of {len(pictures)} pictures")
        return {
            number: self._read_single(picture, f"picture {number}", background)
            for number, (picture, background) in enumerate(zip(pictures, behind, strict=True))
        }

    def _read_step(self, frames: Mapping[int, Any], backgrounds: Mapping[int, Any]) -> dict[int, _Call]:
        self._require_no_plate("pass one frame of every stream: session(frames, plates)")
        checked_slots([*frames, *backgrounds], self._settings.batch)
        if without := backgrounds.keys() - frames.keys():
            raise FrameError(f"stream {min(without)} has a background and no frame; expected backgrounds of frames")
        return {
            slot: self._read_single(frame, FRAME if len(frames) == 1 else f"{FRAME} {slot}", backgrounds.get(slot))
            for slot, frame in frames.items()
        }

    def _require_no_plate(self, remedy: str) -> None:
        if self._program.capacity or self._needs_plate:
            raise FrameError(f"{self._program.family} needs a plate for each picture; {remedy}")

    def _read_single(self, picture: Any, name: str, background: Any) -> _Call:
        frames = read_frames(picture, name, self._settings.color, self._memory)
        if frames.front:
            raise FrameError(
                f"{name} is {frames.array.dtype} {frames.array.shape}; expected a single picture, "
                "(H, W, 3) or (3, H, W); batches and chunks are for session(frames)"
            )
        return _Call(frames, None, self._background_of(background, frames), False)

    def _plate_of(self, given: Any, frames: Frames) -> Frames | None:
        family = self._program.family
        if not self._needs_plate:
            if given is not None:
                raise FrameError(f"a plate is given, but {family} needs none: leave it out")
            return None
        plate = self._plate if given is None else self._read_plate(given)
        if plate is None:
            raise FrameError(
                f"{family} needs the plate, the photographed empty scene: session(frame, plate), or once at "
                "construction (plate=…)"
            )
        require_same_size(PLATE, plate, frames)
        return plate

    def _read_plate(self, plate: Any) -> Frames:
        return read_frames(plate, PLATE, self._settings.color, self._memory)

    def _read_background(self, background: Any) -> Background:
        return read_background(background, self._settings.color, self._memory)

    def _background_of(self, given: Any, frames: Frames) -> Background | None:
        if not self._settings.composites:
            if given is not None:
                raise FrameError(f"a background is given, but this session has outputs={self.outputs}, no composite")
            return None
        background = self._background if given is None else self._read_background(given)
        if background is None:
            raise FrameError(
                "a composite needs a background: give one with the frame, or once at construction (background=…)"
            )
        background.require(frames)
        return background

    def _for_size(self, frames: Frames) -> _Sized:
        if self._sized is not None and self._sized.size == frames.size:
            return self._sized
        program = self._engine.for_frame(*frames.size)
        return _Sized(frames.size, self._executor.schedule(program), program)

    def _schedule_for(self, sizes: tuple[Size | None, ...]) -> FrameSchedule:
        """The steps for streams with frames of these sizes. Those used last are kept."""
        if sizes not in self._schedules:
            programs = {slot: self._engine.for_frame(*size) for slot, size in enumerate(sizes) if size is not None}
            self._schedules[sizes] = self._executor.schedule_streams(programs)
            if len(self._schedules) > _SCHEDULES:
                self._schedules.popitem(last=False)
        self._schedules.move_to_end(sizes)
        return self._schedules[sizes]

    def _results(self, sized: _Sized, call: _Call, out: Any) -> Results:
        if out is None and sized.places is not None and sized.places.shapes.serve(call.frames):
            return sized.places.take()
        shapes = self._shapes(sized.program, call.frames)
        if out is not None:
            return caller_results(out, self._settings.outputs, shapes, call.pictures, self._memory)
        sized.places = self._places(shapes)
        return sized.places.take()

    def _places_in(self, stream: _Stream, call: _Call) -> Ring | Pool:
        """The arrays for mattes of one stream."""
        places, frames = stream.places, call.frames
        if places is not None and stream.size == frames.size and places.shapes.serve(frames):
            return places
        return self._places(self._shapes(self._engine.for_frame(*frames.size), frames))

    def _places(self, shapes: Shapes) -> Ring | Pool:
        ring = self._settings.ring
        kind, count = (Pool, KEPT) if ring is None else (Ring, ring)
        return kind(shapes, count + self._executor.in_flight, self._memory)

    def _shapes(self, program: Program, frames: Frames) -> Shapes:
        settings = self._settings
        return Shapes.of(program, settings.outputs, frames, settings.dtype, settings.layout)

    def _run_times(self, sized: _Sized, call: _Call, results: Results) -> Pending:
        """Run a frame, or the frames of a chunk one after another. Returns the last one."""
        self._begin_streams(dict.fromkeys(range(self._settings.batch), sized.size))
        if call.frames.times > 1:
            self._states.save()
        same_plate, self._has_plate = call.own_plate and self._has_plate, False
        for time in range(call.frames.times):
            frames = {
                lane: self._lane_frame(call, results, time, group.streams, same_plate)
                for lane, group in enumerate(self._executor.groups)
            }
            pending = sized.schedule.run(frames)
            self._states.flip()
            same_plate = call.own_plate
        return pending

    def _begin_streams(self, sizes: Mapping[int, Size]) -> None:
        """Reset the streams whose last frame had another size."""
        if begun := [slot for slot, size in sizes.items() if self._streams[slot].size not in (None, size)]:
            self._states.save(begun)
            self._states.zero(begun)

    def _stream_frames(self, calls: Mapping[int, _Call], results: Mapping[int, Results]) -> dict[int, LaneFrame]:
        """Single pictures, each in a stream."""
        return {
            slot: self._lane_frame(call, results[slot], 0, slice(slot, slot + 1), False) for slot, call in calls.items()
        }

    def _lane_frame(self, call: _Call, results: Results, time: int, streams: slice, same_plate: bool) -> LaneFrame:
        pictures = {FRAME: call.frames.at(time, streams)}
        if call.plate is not None:
            pictures[PLATE] = broadcast_batch(call.plate.at(time, streams), self._program.batch)
        if call.background is not None:
            pictures[BACKGROUND] = self._executor.background_of(call.background, pictures[FRAME], time, streams)
        arrays, front = results.arrays, call.frames.front
        matte = {name: slice_at(arrays[name], front, time, streams) for name in self._matte_names}
        small = {name: slice_at(arrays[name], front, time, streams) for name in self._small_names}
        return LaneFrame(pictures, matte, small, same_plate)

    def _commit(self, sized: _Sized, call: _Call, results: Results, seconds: float) -> None:
        """Make the call count: it has succeeded."""
        self._sized = sized
        self._has_plate = call.own_plate
        if sized.places is not None:
            sized.places.count(results)
        self._count([call], [results], seconds)
        self._states.forget()
        self._streams = [each if each.size == sized.size else _Stream(sized.size) for each in self._streams]

    def _count(self, calls: Collection[_Call], results: Iterable[Results], seconds: float) -> None:
        first = self._counters.frames == 0
        small = sum(each.arrays[name].nbytes for each in results for name in self._small_names)
        copied = sum(call.frames.copied + (call.plate.copied if call.plate else 0) for call in calls)
        self._counters.count(max(call.frames.times for call in calls), seconds, copied, small)
        if first:
            self._counters.warmed_up()


@dataclass(frozen=True, slots=True)
class _Begun:
    """A frame that has begun, and its matte, which is complete once the frame is."""

    matte: Matte
    pending: Pending


def _decoded(*pictures: Any) -> tuple[Any, ...]:
    """Load PIL images, which read a file's pixels late: here, on the thread that reads ahead."""
    for name, picture in zip((FRAME, PLATE, BACKGROUND, BACKGROUND), pictures, strict=False):
        for each in picture if isinstance(picture, (list, tuple)) else (picture,):
            if is_image(each):
                load_image(each, name)
    return pictures
