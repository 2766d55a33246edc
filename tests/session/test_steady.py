"""Once it is warm, a session allocates nothing and copies nothing."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from tests import reference
from tests.session import engines
from trtmatte import _core

pytestmark = pytest.mark.alone

FULL = os.environ.get("TRTMATTE_FULL", "0") not in ("", "0")
FRAMES = 2000
MIB = 1 << 20


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def run(session, frames, count):
    for frame in itertools.islice(itertools.cycle(frames), count):
        session(frame)


def assert_steady(work, sessions):
    """Python's memory neither grows nor peaks, the core gets none, and the process stays as large as it is.

    `work` is 50 calls or more: what grew with each of them would show.
    """
    core, before = _core.allocations(), resident()
    tracemalloc.start()
    try:
        work()
        held, blocks = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
        tracemalloc.reset_peak()
        work()
        peak, more_blocks = tracemalloc.get_traced_memory()[1], sys.getallocatedblocks() - blocks
    finally:
        tracemalloc.stop()
    assert more_blocks < 40
    assert peak - held < 64 * 1024, "arrays were made on the way"
    assert _core.allocations() == core
    assert resident() - before < 2 * MIB
    for session in sessions:
        assert session.stats().allocations == 0


OPTIONS = {
    "mattes": {},
    "composite": {"outputs": ("composite",), "backdrop": "red"},
    "blur": {"outputs": ("composite",), "backdrop": "blur"},
    "small outputs": {"outputs": ("pha", "alpha")},
    "floats": {"dtype": "float32", "layout": "CHW"},
    "scene cuts": {"scene_cut": 0.4},
    "two lanes": {"batch": 2},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_allocated(options, backend):
    session = engines.memory().session(backend=backend, **OPTIONS[options])
    frames = [engines.noise(seed, 480, 270) for seed in range(3)]
    if options == "two lanes":
        frames = [np.stack([frame, frame]) for frame in frames]
    if options == "floats":
        frames = [frame.astype(np.float32) / 255 for frame in frames]
    run(session, frames, 50)
    assert_steady(lambda: run(session, frames, FRAMES // 2), [session])


def test_nothing_is_allocated_on_four_threads(backend):
    engine = engines.memory()
    sessions = [engine.session(backend=backend) for _ in range(4)]
    frames = [engines.noise(seed, 480, 270) for seed in range(3)]
    turns = threading.Barrier(5)
    stop = threading.Event()

    def work(session):
        while turns.wait() >= 0 and not stop.is_set():
            run(session, frames, FRAMES // 8)
            turns.wait()

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()

    def one_turn():
        turns.wait()
        turns.wait()

    try:
        one_turn()
        assert_steady(one_turn, sessions)
    finally:
        stop.set()
        turns.wait()
        for thread in threads:
            thread.join()


def test_rvm_allocates_nothing(backend):
    vector = reference.load("rvm_mobilenetv3-odd-ratio0.375")
    session = engines.of_vector(vector.name).session(backend=backend)
    frames = [np.ascontiguousarray(src[0].transpose(1, 2, 0)) for src in vector.arrays["src"]]
    run(session, frames, 20)
    assert_steady(lambda: run(session, frames, FRAMES // 2 if FULL else 50), [session])


def test_patches_allocate_nothing(backend):
    vector = reference.load("bgmv2_refine_mobilenetv2-oversampling-prevented")
    session = engines.of_vector(vector.name).session(backend=backend, background=vector.arrays["bgr"])
    frames = [vector.arrays["src"], vector.arrays["src"][..., ::-1].copy()]
    run(session, frames, 20)
    assert_steady(lambda: run(session, frames, 50), [session])


def test_states_move_no_bytes(backend):
    session = engines.memory().session(backend=backend)
    run(session, [engines.noise(1)], 10)
    stats = session.stats()
    assert (stats.frames, stats.bytes_in, stats.bytes_out) == (10, 0, 0)


def test_another_size_is_seen_in_the_counter(backend):
    session = engines.memory().session(backend=backend)
    session(engines.noise(1))
    assert session.stats().allocations == 0
    session(engines.noise(1, 64, 48))
    assert session.stats().allocations > 0


def test_latencies_are_of_the_last_calls(backend, monkeypatch):
    clock = itertools.accumulate(itertools.chain([0.0], itertools.cycle([0.010, 1.0])))
    session = engines.memory().session(backend=backend)
    assert session.stats().p50 == 0
    monkeypatch.setattr("trtmatte.session.session.perf_counter", lambda: next(clock))
    run(session, [engines.noise(1)], 2000)
    stats = session.stats()
    assert stats.frames == 2000
    assert stats.p50 == stats.p99 == pytest.approx(10) == pytest.approx(stats.slowest)
