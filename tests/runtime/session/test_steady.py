"""Once it is warm, a session allocates nothing and copies nothing."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from tests import real_models as models
from tests import reference
from tests.runtime.session import engines
from tests.runtime.session.steady import assert_steady, run

pytestmark = pytest.mark.alone

FRAMES = 2000

OPTIONS = {
    "mattes": {},
    "composite": {"outputs": ("composite",), "background": "red"},
    "blur": {"outputs": ("composite",), "background": "blur"},
    "small outputs": {"outputs": ("pha", "alpha")},
    "floats": {"dtype": "float32", "layout": "CHW"},
    "scene cuts": {"scene_cut": 0.4},
    "two lanes": {"batch": 2},
    "results that are used in turn": {"ring": 2},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_allocated(options, backend, tmp_path):
    frames = [engines.noise(seed, 480, 270) for seed in range(3)]
    if options == "two lanes":
        frames = [np.stack([frame, frame]) for frame in frames]
    if options == "floats":
        frames = [frame.astype(np.float32) / 255 for frame in frames]
    assert_steady(engines.memory(), tmp_path, frames, backend=backend, calls=FRAMES, **OPTIONS[options])


@pytest.mark.parametrize("kept", [1, 10])
def test_nothing_is_allocated_where_the_last_results_are_kept(kept, backend, tmp_path):
    frames = [engines.noise(seed, 480, 270) for seed in range(3)]
    assert_steady(engines.memory(), tmp_path, frames, backend=backend, calls=FRAMES, kept=kept)


def test_nothing_is_allocated_on_four_threads(backend, tmp_path):
    frames = [engines.noise(seed, 480, 270) for seed in range(3)]
    assert_steady(engines.memory(), tmp_path, frames, backend=backend, calls=FRAMES, sessions=4)


def test_rvm_allocates_nothing(backend, tmp_path):
    vector = reference.load("rvm_mobilenetv3-odd-ratio0.375")
    frames = [np.ascontiguousarray(src[0].transpose(1, 2, 0)) for src in vector.arrays["src"]]
    assert_steady(engines.of_vector(vector.name), tmp_path, frames, backend=backend, calls=100, warm=150)


@pytest.mark.slow
@pytest.mark.parametrize("sessions", [1, 4])
def test_the_real_rvm_allocates_nothing(sessions, backend, tmp_path):
    frames = list(itertools.islice(models.clip(480, 270), 8))
    engine = engines.rvm(480, 270, 0.5)
    assert_steady(engine, tmp_path, frames, backend=backend, calls=FRAMES, sessions=sessions)


def test_patches_allocate_nothing(backend, tmp_path):
    vector = reference.load("bgmv2_refine_mobilenetv2-oversampling-prevented")
    frames, background = [vector.arrays["src"], vector.arrays["src"][..., ::-1].copy()], vector.arrays["bgr"]
    engine = engines.of_vector(vector.name)
    assert_steady(engine, tmp_path, frames, backend=backend, calls=100, warm=150, plate=background)


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


def test_statistics_have_units(backend):
    session = engines.memory().session(backend=backend, outputs=("pha", "alpha"))
    run(session, [engines.noise(1)], 10)
    text = str(session.stats())
    assert re.fullmatch(
        r"10 frames; \S+ ms a frame \(p90 \S+ ms, p99 \S+ ms, slowest \S+ ms\); "
        r"0\.0 MiB copied in, 0\.0 MiB out; 0 allocations",
        text,
    ), text
    stats = replace(session.stats(), p50=12.345, bytes_in=3 << 20, launches=4, captures=2, note="a reason")
    assert "; 3.0 MiB copied in" in str(stats)
    assert "12.3 ms a frame" in str(stats)
    assert str(stats).endswith("; 4 launches of CUDA graphs, 2 captures; a reason")


def test_latencies_are_of_the_last_calls(backend, monkeypatch):
    clock = itertools.accumulate(itertools.chain([0.0], itertools.cycle([0.010, 1.0])))
    session = engines.memory().session(backend=backend)
    assert session.stats().p50 == 0
    monkeypatch.setattr("trtmatte.runtime.session.session.perf_counter", lambda: next(clock))
    run(session, [engines.noise(1)], 2000)
    stats = session.stats()
    assert stats.frames == 2000
    assert stats.p50 == stats.p99 == pytest.approx(10) == pytest.approx(stats.slowest)
