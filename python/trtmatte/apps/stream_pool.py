"""Live streams that join and leave at any time, and share the networks of one engine."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from trtmatte.api import Session, load
from trtmatte.apps.stream_worker import Line, Waiting, Worker
from trtmatte.errors import FrameError, SettingError
from trtmatte.format.file import EngineFile
from trtmatte.format.stages import PLATE
from trtmatte.runtime.session import Matte
from trtmatte.runtime.session.options import StreamOptions
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["Stream", "StreamPool", "StreamStats"]

_SET_BY_THE_POOL: Final = {
    "batch": "a pool runs as many streams together as the engine's batch: build the engine with it",
    "ring": "mattes of a pool are never written again",
    "plate": "a pool has no models that need one",
}


class StreamPool:
    """Mattes live streams. Each has states of its own, and joins and leaves when it wants.

    >>> pool = trtmatte.StreamPool(engine, slots=8, outputs=("pha",))
    >>> with pool.join() as stream:
    ...     for frame in camera:
    ...         matte = stream(frame)

    `slots` is the number of streams at most. `options` are those of `trtmatte.Session`, for all streams. The frames of
    different streams, and of one, may have any sizes.

    Streams that have a frame ready are matted together, up to the engine's batch. A stream holds one frame that waits:
    a newer one takes its place, and the older one is dropped. Where frames of more streams wait than a batch holds, the
    stream whose last frame was longest ago is next.

    The networks run on a thread of the pool's own. All methods may be called from any thread.
    """

    def __init__(
        self,
        engine: EngineFile | str | Path,
        slots: int,
        *,
        safe: bool | Limits = False,
        **options: Unpack[StreamOptions],
    ) -> None:
        """Load the networks, which takes a while. `engine` is an engine or the path of one."""
        if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
            raise SettingError(f"slots is {slots!r}; expected the number of streams at most, 1 or more")
        for name, reason in _SET_BY_THE_POOL.items():
            if name in options:
                raise SettingError(f"{name} is given, but {reason}; leave it out")
        if not isinstance(engine, EngineFile):
            engine = load(engine, safe=safe)
        if PLATE in engine.program.pictures:
            raise SettingError(
                f"{engine.program.family} needs the plate, the photographed empty scene, and streams of a pool have "
                "none: open a session for each stream, or choose another model"
            )
        limits = Limits.of(safe)
        engine = engine if limits is None or engine.limits == limits else engine.restricted(limits)
        self._slots = slots
        self._worker = Worker(lambda: Session(engine, batch=engine.program.batch, **options), slots)
        self._stop = weakref.finalize(self, self._worker.stop)
        self._stop.atexit = False  # the worker has its own way to end

    def join(self) -> Stream:
        """A new stream. Raises a `FullError` if all slots are taken."""
        return Stream(self, self._worker)

    @property
    def engine(self) -> EngineFile:
        return self._worker.session.engine

    @property
    def slots(self) -> int:
        """The number of streams at most."""
        return self._slots

    @property
    def streams(self) -> int:
        """The number of streams at present."""
        return self._worker.streams

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._worker.session.outputs

    @property
    def backend(self) -> str:
        """The name of the backend that runs the networks."""
        return self._worker.session.backend

    @property
    def device(self) -> str:
        """The device: "cpu" or "cuda:N"."""
        return self._worker.session.device

    def close(self) -> None:
        """Wait for the frame that is under way, cancel those that wait, and free the buffers."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        program = self.engine.program
        state = "closed" if self._worker.is_closed else f"{', '.join(self.outputs)} by {self.backend} on {self.device}"
        streams = f"{self.streams} of {self._slots} streams"
        return f"<StreamPool {program.family} {program.variant}, {streams}: {state}>"


class Stream:
    """A live stream of a pool; `StreamPool.join` returns it."""

    def __init__(self, pool: StreamPool, worker: Worker) -> None:
        self._pool, self._worker = pool, worker
        self._line: Line = worker.join()
        self._leave = weakref.finalize(self, worker.leave, self._line)
        self._leave.atexit = False

    def submit(self, frame: Any, *, background: Any = None) -> Future[Matte]:
        """Let a frame wait for its turn. It takes the place of the one that waits, whose future is cancelled.

        The frame is read later, on another thread: do not overwrite it before the future is done. A frame on a GPU is
        read on the default stream, unless it names another one (`trtmatte.from_device`).
        """
        matte: Future[Matte] = Future()
        self._worker.submit(self._line, Waiting(frame, background, self, matte, time.perf_counter()))
        return matte

    def __call__(self, frame: Any, *, background: Any = None) -> Matte:
        """The matte of a frame. Raises a CancelledError if a newer frame takes its place, or the stream leaves."""
        if self._worker.is_current:
            raise FrameError("a callback of a future waits for the thread that runs it: use stream.submit there")
        return self.submit(frame, background=background).result()

    def reset(self) -> None:
        """Begin anew with the next frame that is submitted, as after a cut to another camera."""
        self._worker.reset(self._line)

    def stats(self) -> StreamStats:
        """Counters and latencies so far."""
        line = self._line
        return StreamStats(line.frames, line.dropped, *line.latencies.percentiles(50, 90, 95, 99))

    def leave(self) -> None:
        """Free the slot. The frame that waits is cancelled, one that is under way completes."""
        self._worker.leave(self._line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def __repr__(self) -> str:
        state = "left" if self._line.left else "closed" if self._worker.is_closed else "open"
        return f"<Stream, {state}: {self._line.frames} frames, {self._line.dropped} dropped>"


@dataclass(frozen=True)
class StreamStats:
    """Counters since the stream joined, and latencies of its last 1,024 frames. `print` shows them with units.

    A latency is the time from `submit` until the matte is there: the frame waits, and is matted.
    """

    frames: int
    """Frames that were matted."""
    dropped: int
    """Frames that were not matted: a newer one took their place, or they were cancelled."""
    p50: float
    """Milliseconds: half of the frames took no longer."""
    p90: float
    """Milliseconds: nine in ten frames took no longer."""
    p95: float
    """Milliseconds: 95 in a hundred frames took no longer."""
    p99: float
    """Milliseconds: 99 in a hundred frames took no longer."""

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.dropped} dropped; {self.p50:.3g} ms from submit to the matte "
            f"(p90 {self.p90:.3g} ms, p95 {self.p95:.3g} ms, p99 {self.p99:.3g} ms)"
        )
