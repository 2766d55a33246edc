"""Calls that come in the middle of a call: of signal handlers, protocols, destructors, forks and other threads."""

from __future__ import annotations

import gc
import os
import signal
import threading

import numpy as np
import pytest

from tests.ops.specification import picture
from tests.runtime.session import engines
from trtmatte import BackendError, FrameError, ops

FRAME = picture(engines.HEIGHT, engines.WIDTH)
BUSY = "in the middle of a call of this very thread"


@pytest.fixture
def session(open_session):
    return open_session()


def in_the_middle(session, work):
    """Do some work in the middle of the next frame, once."""
    left = [work]

    def watched(title, step):
        def run(*arguments):
            step(*arguments)
            if left:
                left.pop()()

        return run

    session.watch(watched)


def state_of(session):
    return {name: value.tolist() for name, value in session.state.items()}


USES = {
    "call": lambda session: session(FRAME),
    "reset": lambda session: session.reset(),
    "state": lambda session: session.state,
    "fork": lambda session: session.fork(),
    "close": lambda session: session.close(),
    "stream": lambda session: list(session.stream([FRAME])),
}


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal")
@pytest.mark.parametrize("use", USES)
def test_a_signal_handler_uses_the_session(session, use):
    errors = []

    def handle(number, stack):
        with pytest.raises(FrameError) as caught:
            USES[use](session)
        errors.append(str(caught.value))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        in_the_middle(session, lambda: signal.raise_signal(signal.SIGUSR1))
        session(FRAME)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(errors) == 1
    assert BUSY in errors[0]
    assert session.stats().frames == 1


@pytest.mark.parametrize("protocol", ["__array_interface__", "__dlpack_device__", "mask"])
def test_a_protocol_uses_the_session(session, protocol):
    class Calling:
        pass

    setattr(Calling, protocol, property(lambda self: session(FRAME)))
    with pytest.raises(FrameError, match=BUSY):
        session(Calling())
    session(FRAME)
    assert session.stats().frames == 1


def test_a_protocol_uses_the_ops(session):
    """They hold nothing while they read arrays."""

    class Calling:
        @property
        def __array_interface__(self):
            ops.frame_sample(FRAME, 4, 4)
            return FRAME.__array_interface__

    session(Calling())
    assert session.stats().frames == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destructor_closes_the_session(session):
    class Owner:
        def __init__(self):
            self.own = self

        def __del__(self):
            session.close()

    def collect():
        Owner()
        gc.collect()

    in_the_middle(session, collect)
    session(FRAME)
    session(FRAME)
    assert session.stats().frames == 2


def test_another_thread_closes_the_session(session):
    """It waits for the frame."""
    closing = threading.Thread(target=session.close)

    def close():
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()

    in_the_middle(session, close)
    session(FRAME)
    closing.join()
    with pytest.raises(FrameError, match="the session is closed"):
        session(FRAME)
    assert session.stats().frames == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("shape", [(), (1, 3)])
def test_states_after_an_interrupt_are_as_before(session, error, shape):
    session(FRAME)
    before = state_of(session)

    def fail():
        raise error

    in_the_middle(session, fail)
    frames = np.broadcast_to(FRAME, (*shape, *FRAME.shape))
    with pytest.raises(error):
        session(frames)
    assert state_of(session) == before
    assert session.stats().frames == 1


@pytest.mark.parametrize("size", [FRAME.shape, (40, 48, 3)])
def test_states_after_a_failure_at_the_end_are_as_before(session, monkeypatch, size):
    """All is computed, and then the call fails: the next frame begins where it began."""
    session(FRAME)
    before = state_of(session)

    def fail(*counted):
        raise MemoryError

    monkeypatch.setattr(session._counters, "count", fail)
    for _ in range(3):
        with pytest.raises(MemoryError):
            session(np.zeros(size, np.uint8))
        assert state_of(session) == before


def in_a_child(work):
    """The exit status of a child that does this, or dies after twenty seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            work()
        except BaseException as error:
            print(repr(error))
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("moment", ["between calls", "in a call", "in a call of another thread"])
def test_a_forked_process(backend, open_session, moment):
    """It is refused its parent's sessions at once, and opens its own."""
    session = open_session(backend=backend)
    expected = session(FRAME).pha.copy()
    session.reset()
    statuses = []

    def child():
        for use in USES.values():
            with pytest.raises(FrameError, match="open a session in the child"):
                use(session)
        if backend == "openvino":  # a copy of its process has none of its threads
            with pytest.raises(BackendError, match="forked"):
                session.engine.session(backend=backend)
        with session.engine.session(backend="auto" if backend == "openvino" else backend) as own:
            assert own.backend == "onnxruntime"
            np.testing.assert_array_equal(own(FRAME).pha, expected)

    def fork():
        statuses.append(in_a_child(child))

    if moment == "in a call":
        in_the_middle(session, fork)
    elif moment == "in a call of another thread":
        forked = threading.Event()
        reached = threading.Event()
        in_the_middle(session, lambda: (reached.set(), forked.wait(30)))
        other = threading.Thread(target=session, args=(FRAME,))
        other.start()
        assert reached.wait(30)
        fork()
        forked.set()
        other.join()
    else:
        fork()
    session(FRAME)
    assert statuses == [0]
