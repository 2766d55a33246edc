"""A session runs a program for one stream of frames, or for a fixed number of streams in lockstep."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


@dataclass
class _Sized:
    """Everything that depends on the size of the frames."""

    size: tuple[int, int]
    schedule: FrameSchedule
    program: Program
    places: Ring | Pool | None = None


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
            if self._sized is not None:
                twin._sized = twin._scheduled(self._sized.size)
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

    def close(self) -> None:
        """Free the buffers. Results that were handed out stay valid."""
        with self._alone():
            if not self._closed:
                self._executor.close()
            self._closed = True
            self._sized = None
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
        call = self._read(frame, plate, background, backdrop)
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
        return _Begun(Matte(results.for_caller, self._settings.layout, self._settings.color), pending)

    def _run_each(self, pictures: list[Any], backgrounds: Sequence[Any] | None) -> list[Matte]:
        began = perf_counter()
        self._require_open()
        calls = self._read_each(pictures, backgrounds)
        programs = [self._engine.for_frame(*call.frames.size) for call in calls]
        results = [
            self._shapes(program, call.frames).allocate(self._memory)
            for program, call in zip(programs, calls, strict=True)
        ]
        self._states.zero()  # a frame writes the other side, which never counts here
        self._has_plate = False
        frames = [
            self._lane_frame(call, result, 0, slice(number, number + 1), False)
            for number, (call, result) in enumerate(zip(calls, results, strict=True))
        ]
        self._executor.schedule_each(programs).run(frames).wait()
        small = sum(result.arrays[name].nbytes for result in results for name in self._small_names)
        self._counters.count(1, perf_counter() - began, sum(call.frames.copied for call in calls), small)
        return [Matte(result.for_caller, self._settings.layout, self._settings.color) for result in results]

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

    def _read_each(self, pictures: list[Any], backgrounds: Sequence[Any] | None) -> list[_Call]:
        program, batch = self._program, self._settings.batch
        if program.capacity or self._needs_plate:
            raise FrameError(f"{program.family} needs a plate for each picture; pass one picture after another")
        if not 1 <= len(pictures) <= batch:
            raise FrameError(f"there are {len(pictures)} pictures; expected 1 to {batch}, the streams of this session")
        behind = [None] * len(pictures) if backgrounds is None else list(backgrounds)
        if len(behind) != len(pictures):
            raise FrameError(f"there are {len(behind)} backgrounds; expected one for each of {len(pictures)} pictures")
        calls = []
        for number, (picture, background) in enumerate(zip(pictures, behind, strict=True)):
            frames = read_frames(picture, f"picture {number}", self._settings.color, self._memory)
            if frames.front:
                raise FrameError(
                    f"picture {number} is {frames.array.dtype} {frames.array.shape}; expected a single picture, "
                    "(H, W, 3) or (3, H, W); batches and chunks are for session(frames)"
                )
            calls.append(_Call(frames, None, self._background_of(background, frames), False))
        return calls

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
        return self._scheduled(frames.size)

    def _scheduled(self, size: tuple[int, int]) -> _Sized:
        program = self._engine.for_frame(*size)
        return _Sized(size, self._executor.schedule(program), program)

    def _results(self, sized: _Sized, call: _Call, out: Any) -> Results:
        settings, frames = self._settings, call.frames
        if out is None and sized.places is not None and sized.places.shapes.serve(frames):
            return sized.places.take()
        shapes = self._shapes(sized.program, frames)
        if out is not None:
            return caller_results(out, settings.outputs, shapes, call.pictures, self._memory)
        kind, count = (Pool, KEPT) if settings.ring is None else (Ring, settings.ring)
        sized.places = kind(shapes, count + self._executor.in_flight, self._memory)
        return sized.places.take()

    def _shapes(self, program: Program, frames: Frames) -> Shapes:
        settings = self._settings
        return Shapes.of(program, settings.outputs, frames, settings.dtype, settings.layout)

    def _run_times(self, sized: _Sized, call: _Call, results: Results) -> Pending:
        """Run a frame, or the frames of a chunk one after another. Returns the last one."""
        if self._sized is not None and self._sized is not sized:  # frames of another size begin another stream
            self._states.save()
            self._states.zero()
        if call.frames.times > 1:
            self._states.save()
        same_plate, self._has_plate = call.own_plate and self._has_plate, False
        for time in range(call.frames.times):
            frames = [self._lane_frame(call, results, time, each.streams, same_plate) for each in self._executor.groups]
            pending = sized.schedule.run(frames)
            self._states.flip()
            same_plate = call.own_plate
        return pending

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
        first = self._counters.frames == 0
        self._sized = sized
        self._has_plate = call.own_plate
        if sized.places is not None:
            sized.places.count(results)
        small = sum(results.arrays[name].nbytes for name in self._small_names)
        copied = call.frames.copied + (call.plate.copied if call.plate else 0)
        self._counters.count(call.frames.times, seconds, copied, small)
        if first:
            self._counters.warmed_up()
        self._states.forget()


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
