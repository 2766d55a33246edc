"""The thread that mattes live streams: frames that wait in streams of one session run together.

The worker knows nothing of the pool and of the streams' handles, so that both are freed when their owner drops them. A
frame that waits keeps the handle of its stream.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

from trtmatte.api import Session
from trtmatte.errors import FrameError, FullError
from trtmatte.runtime.session import Matte
from trtmatte.runtime.session.stats import Latencies

__all__ = ["Line", "Waiting", "Worker"]

_LOG: Final = logging.getLogger("trtmatte")


@dataclass(eq=False)
class Waiting:
    """A frame that waits for its turn."""

    frame: Any
    background: Any
    owner: object  # lives until the frame is done
    matte: Future[Matte]
    since: float
    begins: bool = False  # the states of its stream are reset before it


class Line:
    """A stream: where its states are, the frame that waits, and its counters."""

    def __init__(self, session: Session, slot: int, run: int) -> None:
        self.session, self.slot = session, slot
        self.last_run = run
        self.waiting: Waiting | None = None
        self.begins = True  # the next frame is the first one
        self.left = False
        self.frames = self.dropped = 0
        self.latencies = Latencies()


class Worker:
    """Runs the frames of all streams on one thread. Next is the session of the stream whose last frame was longest ago,
    of those that have one."""

    def __init__(self, open_session: Callable[[], Session], slots: int) -> None:
        """The first session is opened here, others when their streams come."""
        self._open_session, self._slots = open_session, slots
        self._changed = threading.Condition()  # held for moments only
        self._opening = threading.RLock()  # held while a session is opened
        self._sessions = [open_session()]
        self._lines: list[Line] = []
        self._runs = 0
        self._closing = False
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name="trtmatte-streams", daemon=True)
        self._thread.start()
        _workers.add(self)

    @property
    def session(self) -> Session:
        """The first session."""
        return self._sessions[0]

    @property
    def streams(self) -> int:
        return len(self._lines)

    @property
    def is_closed(self) -> bool:
        return self._closing

    @property
    def is_current(self) -> bool:
        """Report if the caller is on the worker's thread."""
        return threading.current_thread() is self._thread

    # -----------------------------------------------------------------------------------------------------------------
    # Streams

    def join(self) -> Line:
        """Take a free slot; raises a FullError if there is none."""
        self._require_process()
        with self._opening:
            with self._changed:
                self._require_open()
                if len(self._lines) >= self._slots:
                    raise FullError(
                        f"all {self._slots} slots of the pool are taken: try again when a stream has left, or open a "
                        "pool with more slots"
                    )
                if (session := self._with_room()) is not None:
                    return self._placed(session)
            session = self._open_session()  # frames go on meanwhile
            with self._changed:
                if not self._closing:
                    self._sessions.append(session)
                    return self._placed(session)
            session.close()
            self._require_open()
            raise AssertionError("a pool that is closed is never open again")

    def leave(self, line: Line) -> None:
        """Free the slot. A frame that is under way completes before any frame of the slot's next stream."""
        if os.getpid() != self._process:
            return
        with self._changed:
            if line.left:
                return
            line.left = True
            self._lines.remove(line)
            dropped = self._taken(line)
        _cancel(dropped)

    def submit(self, line: Line, waiting: Waiting) -> None:
        """Let a frame wait for its turn, in the place of the one that waits."""
        self._require_process()
        with self._changed:
            self._require_open(line)
            before = self._taken(line)
            waiting.begins = line.begins or any(each.begins for each in before)
            line.waiting, line.begins = waiting, False
            self._changed.notify()
        _cancel(before)

    def reset(self, line: Line) -> None:
        """Let the states begin anew with the next frame that is submitted."""
        self._require_process()
        with self._changed:
            self._require_open(line)
            line.begins = True

    def stop(self) -> None:
        """Let the thread end after the frame that is under way. It cancels those that wait."""
        if os.getpid() == self._process:
            with self._changed:
                self._closing = True
                self._changed.notify()

    def close(self) -> None:
        """Stop, and wait for the frame that is under way."""
        self.stop()
        if os.getpid() == self._process and not self.is_current:
            self._thread.join()

    def _with_room(self) -> Session | None:
        """The fullest session that has room, so that batches are full."""
        taken = {session: sum(line.session is session for line in self._lines) for session in self._sessions}
        batch = self.session.engine.program.batch
        return max((each for each in taken if taken[each] < batch), key=taken.__getitem__, default=None)

    def _placed(self, session: Session) -> Line:
        taken = {line.slot for line in self._lines if line.session is session}
        line = Line(session, min({*range(session.engine.program.batch)} - taken), self._runs)
        self._lines.append(line)
        return line

    def _taken(self, line: Line) -> list[Waiting]:
        """Take the frame that waits, if there is one, which is then dropped."""
        waiting, line.waiting = line.waiting, None
        line.dropped += waiting is not None
        return [] if waiting is None else [waiting]

    def _require_process(self) -> None:
        if os.getpid() != self._process:
            raise FrameError(
                f"the pool was opened by the process {self._process} and this is its child {os.getpid()}, which has "
                "none of its threads: open a pool in the child"
            )

    def _require_open(self, line: Line | None = None) -> None:
        if self._closing:
            raise FrameError("the pool is closed: open another one") from self._error
        if line is not None and line.left:
            raise FrameError("the stream has left the pool: pool.join() begins another one")

    # -----------------------------------------------------------------------------------------------------------------
    # The thread

    def _work(self) -> None:
        try:
            while taken := self._next():
                self._run_all(taken)
                del taken  # whoever drops a matte gives its memory back
        except BaseException as error:  # a defect must not leave anybody waiting
            self._error = error
        with self._changed:
            self._closing = True
            dropped = [waiting for line in self._lines for waiting in self._taken(line)]
            sessions = list(self._sessions)
        if self._error is None:
            _cancel(dropped)
        else:
            _fail(dropped, self._error)
        for session in sessions:
            session.close()

    def _next(self) -> dict[Line, Waiting]:
        """Wait for frames, and take those of one session. Returns nothing at the end."""
        with self._changed:
            while not self._closing:
                ready = [line for line in self._lines if line.waiting is not None]
                if ready:
                    self._runs += 1
                    session = min(ready, key=lambda line: line.last_run).session
                    return self._begun([line for line in ready if line.session is session])
                self._changed.wait()
        return {}

    def _begun(self, lines: Iterable[Line]) -> dict[Line, Waiting]:
        taken = {line: line.waiting for line in lines if line.waiting is not None}
        for line in taken:
            line.waiting, line.last_run = None, self._runs
        return taken

    def _run_all(self, taken: dict[Line, Waiting]) -> None:
        try:
            held = {line: waiting for line, waiting in taken.items() if waiting.matte.set_running_or_notify_cancel()}
            with self._changed:
                for line in taken.keys() - held.keys():  # the caller has cancelled its frame
                    line.dropped += 1
            for line, waiting in taken.items():
                if waiting.begins:
                    line.session.reset(line.slot)
            if held:
                self._run(held)
        except BaseException as error:  # of a callback, perhaps: the other frames must not wait for ever
            _LOG.exception("frames of a stream pool have failed")
            _fail(taken.values(), error)

    def _run(self, held: dict[Line, Waiting]) -> None:
        session = next(iter(held)).session
        frames = {line.slot: waiting.frame for line, waiting in held.items()}
        backgrounds = {
            line.slot: waiting.background for line, waiting in held.items() if waiting.background is not None
        }
        try:
            mattes = session.step(frames, backgrounds=backgrounds)
        except BaseException as error:
            if len(held) == 1:
                _fail(held.values(), error)
                return
            mattes = {}
        if not mattes:  # one of them is at fault, and the others are not
            for line, waiting in held.items():
                self._run({line: waiting})
            return
        now = time.perf_counter()
        for line, waiting in held.items():
            line.frames += 1
            line.latencies.add(now - waiting.since)
            waiting.matte.set_result(mattes[line.slot])


def _cancel(dropped: Iterable[Waiting]) -> None:
    for waiting in dropped:
        if waiting.matte.cancel():
            waiting.matte.set_running_or_notify_cancel()  # tell those who wait for several


def _fail(held: Iterable[Waiting], error: BaseException) -> None:
    for waiting in held:
        with suppress(InvalidStateError):  # it is done
            waiting.matte.set_exception(error)


_workers: Final[WeakSet[Worker]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Wait for the frames that are under way: at the end of the interpreter, no thread may be within a library."""
    for worker in list(_workers):
        worker.close()
