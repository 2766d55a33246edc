"""A session: a program being run for one stream of frames, or for a fixed number of streams in lockstep."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final

import numpy as np

from trtmatte.backends.cuda import choose
from trtmatte.engine import Engine, load
from trtmatte.errors import FrameError
from trtmatte.ops import CHANNELS, Color, Layout
from trtmatte.program import BACKDROP, BACKGROUND, FRAME, Program
from trtmatte.session.arrays import is_image
from trtmatte.session.backdrop import Backdrop, kept, read_backdrop
from trtmatte.session.executors import open_executor
from trtmatte.session.frames import Frames, read_frames, require_same_size, require_streams, spread
from trtmatte.session.matte import Matte
from trtmatte.session.memory import Memory
from trtmatte.session.reading import ReadAhead
from trtmatte.session.ring import Results, Ring, Shapes, given, part
from trtmatte.session.settings import Settings
from trtmatte.session.states import States, checked_slots
from trtmatte.session.stats import Counters, Stats
from trtmatte.session.steps import Shot, Watch

Array = np.ndarray[Any, Any]

_READ_AHEAD: Final = 2  # frames


@dataclass
class _Sized:
    """What depends on the size of the frames."""

    size: tuple[int, int]
    program: Program
    plan: Any  # the executor's own
    ring: Ring | None = None


@dataclass(frozen=True)
class _Call:
    """What a call is given, checked."""

    frames: Frames
    background: Frames | None
    backdrop: Backdrop | None
    own_background: bool  # the session's, not the call's


class Session:
    """Frames in, mattes out.

    >>> session = trtmatte.load("rvm-hd.trtm").session()
    >>> for frame in frames:
    ...     fgr, pha = session(frame)

    `outputs` are any of `fgr`, `pha`, `rgba`, `composite`, and what the model has besides; left out, `fgr` and `pha`.
    `dtype` and `layout` are those of mattes; what the model has besides comes as its network makes it, float32 and
    channels first. Frames are uint8 (0…255) or float (0…1), channels first or last; `color` is that of frames, pictures
    and mattes. PIL images are always RGB, and so are colours.

    `backdrop` is what composites are made over: a colour, a picture, `"blur"`. `background` is the captured picture of
    the scene without its subject, for models that need one; for all others it is another name of `backdrop`. Both can
    be given here or with each frame.

    `batch` is the number of streams that are matted side by side, a multiple of what the engine was built for.
    `scene_cut` begins the states of a stream anew where its picture changes by more than that on average, 0…1.

    A result's arrays belong to a ring of `ring` and are written again `ring` calls later: they stay valid for
    `ring - 1` further calls. `Matte.copy()` keeps one, `out=` writes into arrays of yours.

    `device` is "cpu", "cuda" or "cuda:N"; left out, a GPU if it can run the engine, else the CPU. On a GPU frames of
    the host come back to the host. Frames that are on the GPU are read there, and their mattes stay there: work with
    both on one stream, the one that torch or CuPy has as its current one, and they are in order. Nobody looks for NaN
    in float frames on a GPU. `stream` is one frame ahead there of what it has given, and so are the states.

    Everything is allocated at the first frame of a size. A call that raises leaves the states as they were. Calls from
    several threads wait for each other, and frames count in the order in which they come.
    """

    def __init__(
        self,
        engine: Engine | str | Path,
        *,
        backend: str = "auto",
        device: Any = None,
        outputs: Sequence[str] | str | None = None,
        dtype: Any = "uint8",
        layout: Layout = "HWC",
        color: Color = "rgb",
        background: Any = None,
        backdrop: Any = None,
        batch: int | None = None,
        ring: int = 3,
        scene_cut: float | None = None,
    ) -> None:
        self._engine = engine if isinstance(engine, Engine) else load(engine)
        self._program = self._engine.program
        self._needs_background = BACKGROUND in self._program.pictures
        self._settings = settings = Settings.of(
            self._program,
            backend=backend,
            device=device,
            outputs=outputs,
            dtype=dtype,
            layout=layout,
            color=color,
            background=background,
            backdrop=backdrop,
            batch=batch,
            ring=ring,
            scene_cut=scene_cut,
        )
        choice = choose(backend, device, self._engine)
        self._backend = choice.backend
        self._device = "cpu" if choice.device is None else f"cuda:{choice.device}"
        self._executor: Any = open_executor(self._engine, choice, settings)
        self._states: States = self._executor.states
        self._memory: Memory = self._executor.memory
        with self._memory.entered():
            self._background = (
                None if settings.background is None else self._captured(settings.background).kept(self._memory)
            )
            self._backdrop = (
                None if settings.backdrop is None else kept(self._read_backdrop(settings.backdrop), self._memory)
            )
        self._sized: _Sized | None = None
        self._has_background = False  # the small one that the network sees is of the session's own
        self._counters = Counters(self._memory)
        self._matte_names = settings.wanted.matte
        self._small_names = tuple(name for name in settings.outputs if name not in CHANNELS)
        self._lock = threading.Lock()
        self._closed = False

    # -----------------------------------------------------------------------------------------------------------------
    # Frames

    def __call__(self, frame: Any, background: Any = None, *, backdrop: Any = None, out: Any = None) -> Matte:
        """The matte of a frame, of one frame of each stream, or of a chunk: `(batch, time, …)`, in the order of time.

        `out` is an array for each output, by name or in their order.
        """
        with self._alone():
            return self._begin(frame, background, backdrop, out)[0]

    def stream(
        self, frames: Iterable[Any], *, backgrounds: Iterable[Any] | None = None, backdrops: Iterable[Any] | None = None
    ) -> Iterator[Matte]:
        """The mattes of frames in turn, while the next are read on another thread.

        The iterators are read up to two frames ahead: what they give must not be written again by then.
        """
        each_background = repeat(None) if backgrounds is None else backgrounds
        each_backdrop = repeat(None) if backdrops is None else backdrops
        ahead = ReadAhead(map(_decoded, frames, each_background, each_backdrop), _READ_AHEAD)
        begun: deque[tuple[Matte, Callable[[], object]]] = deque()
        try:
            for frame, background, backdrop in ahead:
                with self._alone():
                    self._require_open()
                    lag = self._executor.lag
                    begun.append(self._begin(frame, background, backdrop, lag=lag))
                if len(begun) > lag:
                    yield self._arrived(*begun.popleft())
            while begun:
                yield self._arrived(*begun.popleft())
        except Exception:
            while begun:  # what was begun before it went wrong is whole
                yield self._arrived(*begun.popleft())
            raise
        finally:
            ahead.close()

    # -----------------------------------------------------------------------------------------------------------------
    # States

    def reset(self, slots: Sequence[int] | int | None = None) -> None:
        """Begins anew: all streams, or those of these numbers."""
        with self._alone():
            self._require_open()
            self._states.zero(checked_slots(slots, self._settings.batch))

    @property
    def state(self) -> dict[str, Array]:
        """Copies of the states by name: what the next frame builds on. Can be set to continue from there."""
        with self._alone():
            self._require_open()
            return self._states.get()

    @state.setter
    def state(self, values: Mapping[str, Any]) -> None:
        with self._alone():
            self._require_open()
            self._states.set(values)

    def fork(self) -> Session:
        """Another session that continues from here, over the same networks."""
        with self._alone():
            self._require_open()
            twin = Session(self._engine, **self._settings.arguments())
            twin._states.set(self._states.get())
            if self._sized is not None:
                twin._sized = twin._planned(self._sized.size)
            return twin

    # -----------------------------------------------------------------------------------------------------------------
    # The rest of its life

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def backend(self) -> str:
        """What runs the networks."""
        return self._backend

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda:N"."""
        return self._device

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._settings.outputs

    def stats(self) -> Stats:
        return (
            replace(self._counters.stats(), **self._executor.counts()) if not self._closed else self._counters.stats()
        )

    def watch(self, watch: Watch) -> None:
        """Has every step from the next frame on go through `watch(title, step)`, which gives what runs in its place.

        `trtmatte.profiling` sees in this way how long each takes. On a GPU each step is then waited for.
        """
        with self._alone():
            self._require_open()
            self._executor.watch(watch)
            self._sized = None  # planned anew

    def close(self) -> None:
        """Lets go of its buffers. Results that were handed out stay."""
        with self._alone():
            if not self._closed:
                self._executor.close()
            self._closed = True
            self._sized = None
            self.__dict__.pop("_executor", None)
            self.__dict__.pop("_states", None)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._backend}, {self._settings.batch} stream(s)"
        return f"<Session {self._program.family} {self._program.variant}: {state}>"

    # -----------------------------------------------------------------------------------------------------------------
    # One call

    def _begin(
        self, frame: Any, background: Any, backdrop: Any, out: Any = None, lag: int = 0
    ) -> tuple[Matte, Callable[[], object]]:
        """The matte of a frame, and what waits until it is there. Without a lag it is."""
        began = perf_counter()
        self._require_open()
        call = self._read(frame, background, backdrop)
        sized = self._for_size(call.frames)
        results = self._results(sized, call.frames, out)
        try:
            self._run(sized, call, results)
        except BaseException:
            self._states.restore()
            raise
        arrival = self._executor.arrival()
        if not lag:
            arrival()
        self._commit(sized, call, results, perf_counter() - began)
        return Matte(results.handed, self._settings.layout, self._settings.color), arrival

    def _arrived(self, matte: Matte, arrival: Callable[[], object]) -> Matte:
        with self._alone():
            arrival()
        return matte

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time, and where there is a device, that is the current one meanwhile."""
        with self._lock, self._memory.entered():
            yield

    def _require_open(self) -> None:
        if self._closed:
            raise FrameError("the session is closed; open another with engine.session()")

    def _read(self, frame: Any, background: Any, backdrop: Any) -> _Call:
        """Everything that can be checked before anything is computed."""
        frames = read_frames(frame, FRAME, self._settings.color, self._memory)
        require_streams(FRAME, frames, self._settings.batch)
        if not self._needs_background:
            if background is not None and backdrop is not None:
                raise FrameError("background and backdrop are both given; this model needs no captured background")
            background, backdrop = None, background if backdrop is None else backdrop
        captured = self._background_of(background, frames)
        return _Call(frames, captured, self._backdrop_of(backdrop, frames), captured is self._background)

    def _background_of(self, given: Any, frames: Frames) -> Frames | None:
        if not self._needs_background:
            return None
        captured = self._background if given is None else self._captured(given)
        if captured is None:
            raise FrameError(
                f"{self._program.family} needs the picture of the scene without its subject: "
                "session(frame, background), or once at construction (background=…)"
            )
        require_same_size(BACKGROUND, captured, frames)
        return captured

    def _captured(self, background: Any) -> Frames:
        return read_frames(background, BACKGROUND, self._settings.color, self._memory)

    def _read_backdrop(self, backdrop: Any) -> Backdrop:
        return read_backdrop(backdrop, self._settings.color, self._memory)

    def _backdrop_of(self, given: Any, frames: Frames) -> Backdrop | None:
        if not self._settings.composites:
            if given is not None:
                raise FrameError(f"a backdrop is given, but this session has outputs={self.outputs} and no composite")
            return None
        backdrop = self._backdrop if given is None else self._read_backdrop(given)
        if backdrop is None:
            raise FrameError(
                "a composite needs a backdrop: give one with the frame, or once at construction (backdrop=…)"
            )
        backdrop.require(frames)
        return backdrop

    def _for_size(self, frames: Frames) -> _Sized:
        if self._sized is not None and self._sized.size == frames.size:
            return self._sized
        return self._planned(frames.size)

    def _planned(self, size: tuple[int, int]) -> _Sized:
        program = self._program.for_frame(*size)
        return _Sized(size, program, self._executor.plan(program))

    def _results(self, sized: _Sized, frames: Frames, out: Any) -> Results:
        settings = self._settings
        if out is None and sized.ring is not None and sized.ring.serves(frames):
            return sized.ring.next
        shapes = Shapes.of(sized.program, settings.outputs, frames, settings.dtype, settings.layout)
        if out is not None:
            return given(out, settings.outputs, shapes, self._memory)
        sized.ring = Ring(shapes, settings.ring + self._executor.lag, self._memory)
        return sized.ring.next

    def _run(self, sized: _Sized, call: _Call, results: Results) -> None:
        if self._sized is not None and self._sized is not sized:  # another size begins another stream
            self._states.save()
            self._states.zero()
        if call.frames.times > 1:
            self._states.save()
        same_background, self._has_background = call.own_background and self._has_background, False
        for time in range(call.frames.times):
            shots = [self._shot(call, results, time, lane.streams, same_background) for lane in self._executor.lanes]
            self._executor.run(sized.plan, shots)
            self._states.flip()
            same_background = call.own_background

    def _shot(self, call: _Call, results: Results, time: int, streams: slice, same_background: bool) -> Shot:
        pictures = {FRAME: call.frames.at(time, streams)}
        if call.background is not None:
            pictures[BACKGROUND] = spread(call.background.at(time, streams), self._program.batch)
        if call.backdrop is not None:
            pictures[BACKDROP] = self._executor.backdrop(call.backdrop, pictures[FRAME], time, streams)
        front = call.frames.front
        matte: dict[str, Array] = {name: part(results.arrays[name], front, time, streams) for name in self._matte_names}
        small = {name: part(results.arrays[name], front, time, streams) for name in self._small_names}
        return Shot(pictures, matte, small, same_background)

    def _commit(self, sized: _Sized, call: _Call, results: Results, seconds: float) -> None:
        """The call has succeeded: only now does anything count."""
        first = self._counters.frames == 0
        self._states.forget()
        self._sized = sized
        self._has_background = call.own_background
        if sized.ring is not None and results is sized.ring.next:
            sized.ring.advance()
        small = sum(results.arrays[name].nbytes for name in self._small_names)
        copied = call.frames.copied + (call.background.copied if call.background else 0)
        self._counters.count(call.frames.times, seconds, copied, small)
        if first:
            self._counters.warmed_up()


def _decoded(*pictures: Any) -> tuple[Any, ...]:
    """PIL reads a file's pixels only when they are asked for: here, on the thread that reads ahead."""
    for picture in pictures:
        if is_image(picture):
            picture.load()
    return pictures
