"""Live streams of a pool: each is matted as by a session of its own, and none waits for another's faults."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from tests.runtime.session.stepping import SIZES, assert_equal
from tests.runtime.session.test_turns import in_a_child
from trtmatte.apps.stream_pool import StreamStats
from trtmatte.apps.stream_worker import Worker
from trtmatte.errors import BackendError, FrameError, FullError, SettingError
from trtmatte.format.file import write
from trtmatte.runtime.session.options import SessionOptions, StreamOptions
from trtmatte.runtime.session.steps import RunNetwork

ROOT = Path(__file__).parents[2]
FRAME, OTHER = engines.noise(1), engines.noise(2)
SECONDS = 30  # nothing takes so long

OpenPool = Callable[..., trtmatte.StreamPool]


@pytest.fixture
def open_pool() -> Iterator[OpenPool]:
    """Opens pools on the tiny engine, by ONNX Runtime, and closes them afterwards."""
    opened = []

    def open_one(slots: int = 4, batch: int = 1, **options: Any) -> trtmatte.StreamPool:
        options = {"backend": "onnxruntime", "outputs": ("alpha", "pha"), **options}
        opened.append(trtmatte.StreamPool(engines.memory(batch), slots, **options))
        return opened[-1]

    yield open_one
    for pool in opened:
        pool.close()


@pytest.fixture
def open_alone() -> Iterator[Callable[..., trtmatte.Session]]:
    opened = []

    def open_one(**options: Any) -> trtmatte.Session:
        options = {"backend": "onnxruntime", "outputs": ("alpha", "pha"), **options}
        opened.append(engines.memory().session(**options))
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()


class Held:
    """A frame that cannot be read until it is released: the worker is busy with it."""

    def __init__(self, frame: np.ndarray = FRAME) -> None:
        self.frame = frame
        self.begun, self.released = threading.Event(), threading.Event()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.frame.shape

    @property
    def __array_interface__(self) -> dict[str, Any]:
        self.begun.set()
        assert self.released.wait(SECONDS)
        return self.frame.__array_interface__


def busy(stream: Any) -> tuple[Held, Future[trtmatte.Matte]]:
    held = Held()
    future = stream.submit(held)
    assert held.begun.wait(SECONDS)
    return held, future


def done(future: Future[trtmatte.Matte]) -> trtmatte.Matte:
    return future.result(SECONDS)


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "trtmatte-streams"}


# ---------------------------------------------------------------------------------------------------------------------
# Each stream is as if alone


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"outputs": ("composite",), "background": "blur", "color": "bgr"}, {"scene_cut": 0.2}],
    ids=["mattes", "blur", "scene cuts"],
)
def test_streams_come_and_go(
    options: dict[str, Any], batch: int, seed: int, open_pool: OpenPool, open_alone: Any
) -> None:
    """More threads than slots, each with one stream after another, of frames of changing sizes."""
    pool, errors = open_pool(5, batch, **options), []

    def play(number: int) -> None:
        random, alone = np.random.default_rng([seed, number]), open_alone(**options)
        for _ in range(4):
            while True:
                try:
                    stream = pool.join()
                    break
                except FullError:
                    time.sleep(0.001)
            alone.reset()
            size, kept = SIZES[0], []
            for _ in range(random.integers(1, 12)):
                if random.random() < 0.2:
                    size = SIZES[random.integers(len(SIZES))]
                if random.random() < 0.1:
                    stream.reset()
                    alone.reset()
                frame = engines.noise(random.integers(1 << 30), *size)
                matte = stream(frame)
                expected = alone(frame)
                assert_equal(expected, matte)
                kept.append((matte, expected))
            for matte, expected in kept:
                assert_equal(expected, matte)
            assert (stream.stats().frames, stream.stats().dropped) == (len(kept), 0)
            stream.leave()

    def guarded(number: int) -> None:
        try:
            play(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert pool.streams == 0


def test_a_stream_with_backgrounds(open_pool: OpenPool, open_alone: Any) -> None:
    options: dict[str, Any] = {"outputs": ("composite",), "background": "red"}
    stream, alone = open_pool(batch=2, **options).join(), open_alone(**options)
    for background in (None, "blue", OTHER, None):
        assert_equal(alone(FRAME, background=background), stream(FRAME, background=background))


def test_a_stream_begins_anew_in_a_used_slot(open_pool: OpenPool, open_alone: Any) -> None:
    pool = open_pool(1, 2)
    with pool.join() as first:
        first(FRAME)
        first(OTHER)
    with pool.join() as second:
        assert_equal(open_alone()(OTHER), second(OTHER))
        assert second.stats().frames == 1


@pytest.mark.parametrize("batch", [1, 2])
def test_a_reset_is_before_the_next_frame_that_is_submitted(batch: int, open_pool: OpenPool, open_alone: Any) -> None:
    """Not before the one that waits; and a frame that is dropped leaves it to the one that takes its place."""
    pool, alone = open_pool(2, batch), open_alone()
    stream, other = pool.join(), pool.join()
    assert_equal(alone(FRAME), stream(FRAME))
    held, _ = busy(other)
    before = stream.submit(OTHER)
    stream.reset()
    held.released.set()
    assert_equal(alone(OTHER), done(before))
    held, _ = busy(other)
    dropped, cancelled = stream.submit(FRAME), stream.submit(OTHER)
    cancelled.cancel()
    held.released.set()
    alone.reset()
    assert_equal(alone(FRAME), stream(FRAME))
    assert dropped.cancelled()


# ---------------------------------------------------------------------------------------------------------------------
# Who is next


def test_the_newest_frame_wins(open_pool: OpenPool, open_alone: Any) -> None:
    pool, alone = open_pool(), open_alone()
    stream = pool.join()
    held, first = busy(stream)
    waiting = [stream.submit(engines.noise(seed)) for seed in range(5)]
    assert [future.cancelled() for future in waiting] == [True] * 4 + [False]
    over, _ = concurrent.futures.wait(waiting[:4], SECONDS)
    assert over == set(waiting[:4])
    held.released.set()
    assert_equal(alone(FRAME), done(first))
    assert_equal(alone(engines.noise(4)), done(waiting[4]))
    assert (stream.stats().frames, stream.stats().dropped) == (2, 4)


def test_a_call_says_that_its_frame_was_dropped(open_pool: OpenPool) -> None:
    pool = open_pool()
    stream = pool.join()
    held, _ = busy(stream)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            stream(OTHER)
        except CancelledError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while stream._line.waiting is None:
        time.sleep(0.001)
    newest = stream.submit(FRAME)
    thread.join(SECONDS)
    held.released.set()
    done(newest)
    assert len(caught) == 1


def test_a_caller_cancels_a_frame(open_pool: OpenPool, open_alone: Any) -> None:
    stream, alone = open_pool(batch=2).join(), open_alone()
    held, first = busy(stream)
    waiting = stream.submit(OTHER)
    assert waiting.cancel()
    held.released.set()
    assert_equal(alone(FRAME), done(first))
    while not stream.stats().dropped:
        time.sleep(0.001)
    assert_equal(alone(OTHER), stream(OTHER))
    assert stream.stats().frames == 2


@pytest.mark.parametrize(("batch", "slots"), [(1, 5), (2, 6), (2, 5), (3, 4)])
def test_greedy_streams_are_served_alike(batch: int, slots: int, open_pool: OpenPool) -> None:
    """Each has its next frame ready at once."""
    pool = open_pool(slots, batch)
    streams = [pool.join() for _ in range(slots)]
    ended = threading.Event()

    def again(stream: Any) -> None:
        if sum(each.stats().frames for each in streams) >= 100:
            ended.set()
        else:
            stream.submit(FRAME).add_done_callback(lambda matte: again(stream))

    held, _ = busy(streams[0])
    for stream in streams:
        again(stream)
    held.released.set()
    assert ended.wait(SECONDS)
    counts = [stream.stats().frames for stream in streams]
    assert max(counts) - min(counts) <= 2, counts


def test_a_stream_that_seldom_has_a_frame_is_next(open_pool: OpenPool) -> None:
    """Before streams whose last frame was a moment ago, whatever their number."""
    pool = open_pool(5)
    rare, *greedy = (pool.join() for _ in range(5))
    rare(FRAME)
    for stream in greedy:
        stream(FRAME)
    held, _ = busy(greedy[0])
    order: list[int] = []
    for number, stream in enumerate([*greedy, rare]):
        stream.submit(FRAME).add_done_callback(lambda matte, number=number: order.append(number))  # type: ignore[misc]
    held.released.set()
    while len(order) < 5:
        time.sleep(0.001)
    assert order == [4, 1, 2, 3, 0]


@pytest.mark.parametrize(("batch", "slots", "runs"), [(1, 4, 4), (2, 4, 2), (4, 4, 1), (3, 4, 2)])
def test_frames_that_are_ready_run_together(
    batch: int, slots: int, runs: int, open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, counted, run = open_pool(slots + 1, batch), [], RunNetwork.run
    monkeypatch.setattr(RunNetwork, "run", lambda self, frame=None: (counted.append(1), run(self, frame)))
    streams = [pool.join() for _ in range(slots)]
    held, first = busy(streams[0])
    futures = [stream.submit(FRAME) for stream in streams]
    held.released.set()
    for future in (first, *futures):
        done(future)
    assert len(counted) == runs + 1


def test_streams_join_where_others_are(open_pool: OpenPool) -> None:
    """So that batches are full. A session is opened for streams that need one."""
    pool = open_pool(6, 2)

    def places() -> list[int]:
        return [sum(line.session is each for line in pool._worker._lines) for each in pool._worker._sessions]

    assert places() == [0]
    streams = [pool.join() for _ in range(5)]
    assert places() == [2, 2, 1]
    for left in (0, 2, 3):
        streams[left].leave()
    assert places() == [1, 0, 1]
    streams += [pool.join() for _ in range(2)]
    assert places() == [2, 0, 2]


# ---------------------------------------------------------------------------------------------------------------------
# Faults


WRONG: dict[str, Any] = {
    "shape": np.zeros((4, 4), np.uint8),
    "NaN": np.full((24, 32, 3), np.nan, np.float32),
    "none": None,
    "a batch": np.zeros((2, 24, 32, 3), np.uint8),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_wrong_frame_is_its_stream_s_own(batch: int, wrong: str, open_pool: OpenPool, open_alone: Any) -> None:
    pool, alone = open_pool(3, batch, scene_cut=0.3), [open_alone(scene_cut=0.3) for _ in range(3)]
    streams = [pool.join() for _ in range(3)]
    for stream, session in zip(streams, alone, strict=True):
        assert_equal(session(engines.grey(20)), stream(engines.grey(20)))
    held, _ = busy(streams[1])
    futures = [stream.submit(frame) for stream, frame in zip(streams, [OTHER, WRONG[wrong], FRAME], strict=True)]
    held.released.set()
    alone[1](FRAME)
    with pytest.raises(FrameError, match="frame"):
        done(futures[1])
    assert_equal(alone[0](OTHER), done(futures[0]))
    assert_equal(alone[2](FRAME), done(futures[2]))
    for stream, session in zip(streams, alone, strict=True):
        assert_equal(session(engines.noise(5)), stream(engines.noise(5)))
    assert [stream.stats().frames for stream in streams] == [3, 3, 3]


def test_a_wrong_background_is_its_frame_s_own(open_pool: OpenPool) -> None:
    pool = open_pool(2, 2, outputs=("composite",), background="red")
    streams = [pool.join() for _ in range(2)]
    held, _ = busy(streams[0])
    futures = [streams[0].submit(FRAME, background="reed"), streams[1].submit(FRAME, background="green")]
    held.released.set()
    with pytest.raises(SettingError, match="background is 'reed'"):
        done(futures[0])
    assert done(futures[1]).composite.shape == FRAME.shape


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, SystemExit])
def test_a_failed_network_is_told_to_all(
    error: type[BaseException], batch: int, open_pool: OpenPool, open_alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, alone = open_pool(2, batch), open_alone()
    streams = [pool.join() for _ in range(2)]
    for stream in streams:
        stream(FRAME)

    def fail(self: Any, frame: Any = None) -> None:
        raise error("no")

    with monkeypatch.context() as patch:
        patch.setattr(RunNetwork, "run", fail)
        for future in [stream.submit(OTHER) for stream in streams]:
            with pytest.raises(BackendError if error is RuntimeError else error, match="no"):
                done(future)
    alone(FRAME)
    expected = alone(OTHER)
    for stream in streams:
        assert_equal(expected, stream(OTHER))
        assert stream.stats().frames == 2


def test_a_callback_that_fails_is_its_frame_s_own(open_pool: OpenPool) -> None:
    pool = open_pool(2, 2)
    streams = [pool.join() for _ in range(2)]
    held, _ = busy(streams[0])
    futures = [stream.submit(FRAME) for stream in streams]

    def fail(matte: Any) -> None:
        raise SystemExit("of a callback")

    futures[0].add_done_callback(fail)
    held.released.set()
    done(futures[0])
    with pytest.raises(SystemExit, match="of a callback"):
        done(futures[1])
    assert streams[1](FRAME).pha.shape == (24, 32, 1)


def test_a_callback_may_not_wait_for_its_own_thread(open_pool: OpenPool) -> None:
    stream = open_pool().join()
    caught: list[BaseException] = []
    called = threading.Event()

    def call(matte: Any) -> None:
        try:
            stream(FRAME)
        except FrameError as error:
            caught.append(error)
        called.set()

    held, future = busy(stream)
    future.add_done_callback(call)
    held.released.set()
    assert called.wait(SECONDS)
    assert "use stream.submit there" in str(caught[0])


def test_a_defect_of_the_thread_reaches_the_futures(open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = open_pool(2)
    streams = [pool.join() for _ in range(2)]
    held, first = busy(streams[0])

    def fail(self: Any, line: Any) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr(Worker, "_begun", fail)
    futures = [stream.submit(FRAME) for stream in streams]
    held.released.set()
    done(first)
    for future in futures:
        with pytest.raises(AssertionError, match="a defect"):
            done(future)
    with pytest.raises(FrameError, match="the pool is closed") as caught:
        streams[0].submit(FRAME)
    assert "a defect" in str(caught.value.__cause__)
    pool.close()


def test_nobody_waits_for_a_frame_that_is_under_way(open_pool: OpenPool) -> None:
    """No lock is held meanwhile."""
    pool = open_pool(4, 2)
    stream, other = pool.join(), pool.join()
    held, future = busy(stream)
    began = time.perf_counter()
    waiting = other.submit(FRAME)
    with pool.join() as third:
        third.reset()
        third.stats()
        assert (pool.streams, repr(pool)) == (3, repr(pool))
    stream.leave()
    assert time.perf_counter() - began < SECONDS / 2
    assert not waiting.done()
    held.released.set()
    done(future)
    done(waiting)


# ---------------------------------------------------------------------------------------------------------------------
# The end of streams and pools


def test_a_full_pool(open_pool: OpenPool) -> None:
    pool = open_pool(3, 2)
    streams = [pool.join() for _ in range(3)]
    with pytest.raises(FullError, match=r"all 3 slots of the pool are taken: try again .* more slots"):
        pool.join()
    streams[1].leave()
    assert pool.streams == 2
    streams[1] = pool.join()
    with pytest.raises(trtmatte.FullError):
        pool.join()


@pytest.mark.parametrize("batch", [1, 2])
def test_leaving_frees_the_slot_at_once(batch: int, open_pool: OpenPool, open_alone: Any) -> None:
    """The frame that waits is cancelled, and the one under way is no part of the slot's next stream."""
    pool = open_pool(1, batch)
    stream = pool.join()
    stream(OTHER)
    held, under_way = busy(stream)
    waiting = stream.submit(OTHER)
    stream.leave()
    stream.leave()
    assert waiting.cancelled()
    assert (stream.stats().frames, stream.stats().dropped) == (1, 1)
    following = pool.join()
    first = following.submit(OTHER)
    held.released.set()
    assert done(under_way).pha.shape == (24, 32, 1)
    alone = open_alone()
    assert_equal(alone(OTHER), done(first))
    assert_equal(alone(FRAME), following(FRAME))
    for use in (stream.submit, stream):
        with pytest.raises(FrameError, match=r"the stream has left the pool: pool.join\(\) begins another one"):
            use(FRAME)
    with pytest.raises(FrameError, match="the stream has left"):
        stream.reset()


def test_closing_waits_for_the_frame_under_way(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    streams = [pool.join() for _ in range(2)]
    held, under_way = busy(streams[0])
    waiting = [stream.submit(FRAME) for stream in streams]
    threading.Timer(0.05, held.released.set).start()
    pool.close()
    pool.close()
    assert held.released.is_set()
    assert done(under_way).pha.shape == (24, 32, 1)
    assert all(future.cancelled() for future in waiting)
    assert not pool._worker._thread.is_alive()
    for use in (pool.join, lambda: streams[0].submit(FRAME), streams[0].reset):
        with pytest.raises(FrameError, match="the pool is closed: open another one"):
            use()
    streams[0].leave()
    assert streams[1].stats() == StreamStats(0, 1, 0, 0, 0, 0)


def test_a_callback_closes_the_pool(open_pool: OpenPool) -> None:
    pool = open_pool()
    held, future = busy(pool.join())
    future.add_done_callback(lambda matte: pool.close())
    held.released.set()
    done(future)
    pool._worker._thread.join(SECONDS)
    assert not pool._worker._thread.is_alive()


def test_a_session_that_is_opened_while_the_pool_closes(open_pool: OpenPool) -> None:
    pool = open_pool(2)
    first = pool.join()
    opened = []
    open_session = pool._worker._open_session

    def open_late() -> Any:
        opened.append(open_session())
        pool.close()
        return opened[0]

    pool._worker._open_session = open_late
    with pytest.raises(FrameError, match="the pool is closed"):
        pool.join()
    with pytest.raises(FrameError, match="the session is closed"):
        opened[0](FRAME)
    first.leave()


def test_what_is_dropped_is_freed() -> None:
    """A stream's slot; the thread of a pool, once its frames are done; and no frame or matte is held."""
    before = workers()
    pool = trtmatte.StreamPool(engines.memory(), 1, backend="onnxruntime", outputs=("pha",))
    (thread,) = workers() - before
    stream = pool.join()
    frame = engines.noise(7)
    seen = weakref.ref(frame)
    matte = stream(frame)
    del frame
    while seen() is not None:  # the thread lets go of it a moment after the matte is there
        time.sleep(0.001)
    del stream
    held, last = busy(pool.join())  # whose handle nobody has
    assert pool.streams == 1
    del pool
    gc.collect()
    assert thread.is_alive()
    held.released.set()
    done(last)
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert matte.pha.shape == (24, 32, 1)


def test_a_dropped_stream_frees_its_slot(open_pool: OpenPool) -> None:
    pool = open_pool(1)
    pool.join()(FRAME)
    while pool.streams:
        time.sleep(0.001)
    pool.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process(open_pool: OpenPool) -> None:
    """It is refused at once, also where the lock was held at the fork, and opens a pool of its own."""
    pool = open_pool(2)
    stream = pool.join()
    expected = stream(FRAME).pha.copy()
    held, under_way = busy(stream)

    def child() -> None:
        for use in (pool.join, stream.reset, lambda: stream.submit(FRAME), lambda: stream(FRAME)):
            with pytest.raises(FrameError, match="open a pool in the child"):
                use()
        stream.leave()
        pool.close()
        with trtmatte.StreamPool(engines.memory(), 1, backend="onnxruntime", outputs=("pha",)) as own:
            np.testing.assert_array_equal(own.join()(FRAME).pha, expected)

    locked, unlock = threading.Event(), threading.Event()

    def hold() -> None:
        with pool._worker._changed:
            locked.set()
            unlock.wait(SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(SECONDS)
    status = in_a_child(child)
    unlock.set()
    thread.join()
    assert status == 0
    held.released.set()
    done(under_way)


END = """
import sys, threading, time
import numpy as np
import trtmatte
pool = trtmatte.StreamPool(sys.argv[1], 3, backend=sys.argv[2])
streams = [pool.join() for _ in range(3)]
frame = np.zeros((1080, 1920, 3), np.uint8)
def again(stream):
    try:
        stream.submit(frame).add_done_callback(lambda matte: again(stream))
    except trtmatte.FrameError:
        pass
for stream in streams:
    again(stream)
while not all(stream.stats().frames > 1 for stream in streams):
    time.sleep(0.001)
print("ends")
"""


@pytest.mark.parametrize("backend", engines.BACKENDS)
def test_the_interpreter_ends_while_frames_are_under_way(backend: str, tmp_path: Path) -> None:
    engines.require(backend)
    write(engines.memory(), tmp_path / "tiny.trtm")
    command = [sys.executable, "-c", END, str(tmp_path / "tiny.trtm"), backend]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=2 * SECONDS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ends\n", "")


# ---------------------------------------------------------------------------------------------------------------------
# Options and reports


@pytest.mark.parametrize("slots", [0, -1, True, "3", 1.5])
def test_slots_are_a_number_of_streams(slots: Any) -> None:
    with pytest.raises(SettingError, match=r"slots is .*; expected the number of streams at most, 1 or more"):
        trtmatte.StreamPool(engines.memory(), slots)


@pytest.mark.parametrize(("option", "value"), [("batch", 2), ("ring", 3), ("plate", FRAME)])
def test_what_a_pool_sets_itself_is_refused(option: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{option} is given, but .*; leave it out"):
        trtmatte.StreamPool(engines.memory(), 1, **{option: value})


def test_models_that_need_a_plate_are_refused() -> None:
    with pytest.raises(SettingError, match=r"memory needs the plate.*open a session for each stream"):
        trtmatte.StreamPool(engines.memory(with_plate=True), 1)


def test_options_are_those_of_sessions() -> None:
    """For type checkers."""
    own = {"plate", "batch", "ring"}
    hints = {name: hint for name, hint in SessionOptions.__annotations__.items() if name not in own}
    hints.pop(list(hints)[-1])  # an old name
    assert StreamOptions.__annotations__ == hints
    before = workers()
    with pytest.raises(SettingError, match="output is 'alpah'"):
        trtmatte.StreamPool(engines.memory(), 1, outputs=("alpah",))
    assert workers() == before


def test_the_engine_of_a_file(tmp_path: Path) -> None:
    write(engines.memory(2), tmp_path / "tiny.trtm")
    limits = trtmatte.Limits(pixels=1000)
    with trtmatte.StreamPool(tmp_path / "tiny.trtm", 3, backend="onnxruntime", safe=limits) as pool:
        streams = [pool.join() for _ in range(3)]
        assert streams[2](FRAME).pha.shape == (24, 32, 1)
        with pytest.raises(FrameError, match="64x48"):
            streams[2](engines.noise(1, 64, 48))
        assert len({id(session.engine) for session in pool._worker._sessions}) == 1, "they share its networks"
        assert pool.engine.limits == limits


def test_reports(open_pool: OpenPool) -> None:
    pool = open_pool(3, 2)
    assert (pool.slots, pool.streams, pool.backend, pool.device) == (3, 0, "onnxruntime", "cpu")
    assert pool.outputs == ("alpha", "pha")
    stream = pool.join()
    text = "<StreamPool memory tiny, 1 of 3 streams: alpha, pha by onnxruntime on cpu>"
    assert (repr(pool), repr(stream)) == (text, "<Stream, open: 0 frames, 0 dropped>")
    assert stream.stats() == StreamStats(0, 0, 0, 0, 0, 0)
    stream(FRAME)
    held, future = busy(stream)
    time.sleep(0.02)
    held.released.set()
    done(future)
    stats = stream.stats()
    assert 0 < stats.p50 < stats.p90 < stats.p95 < stats.p99 < SECONDS * 1000
    assert stats.p99 > 19
    text = str(StreamStats(12, 3, 41.23, 50, 60.5, 123.4))
    assert text == "12 frames, 3 dropped; 41.2 ms from submit to the matte (p90 50 ms, p95 60.5 ms, p99 123 ms)"
    stream.leave()
    assert repr(stream) == "<Stream, left: 2 frames, 0 dropped>"
    pool.close()
    assert repr(pool) == "<StreamPool memory tiny, 0 of 3 streams: closed>"


def test_the_example() -> None:
    """As it stands in docs/session.md."""
    page = (ROOT / "docs/session.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {"trtmatte": trtmatte, "engine": engines.memory()}
    exec(code, found)
    shown: list[Any] = []
    with found["pool"] as pool:
        stats = found["follow"]([FRAME, OTHER], shown.append)
        assert (stats.frames, len(shown), shown[0].shape, pool.streams) == (2, 2, (24, 32, 1), 0)
