"""Frames in some of a session's streams, which the others do not notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.runtime.session import engines
from tests.runtime.session.stepping import OPTIONS, SIZES, Streams, assert_equal
from trtmatte.errors import BackendError, FrameError, SettingError
from trtmatte.runtime.session.memory import HostMemory
from trtmatte.runtime.session.steps import RunNetwork

FRAME, OTHER = engines.noise(1), engines.noise(2)
SMALL = {"outputs": ("alpha", "pha")}


@pytest.fixture
def open_streams(open_session):
    """Opens a session with a session for each of its streams beside it."""

    def open_all(built_for, batch, seed=0, **options):
        session = open_session(engine=engines.memory(built_for), batch=batch, **options)
        return Streams(session, [open_session(**options) for _ in range(batch)], seed=seed)

    return open_all


# ---------------------------------------------------------------------------------------------------------------------
# Each stream is as if alone


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("built_for", [1, 2, 3, 4])
@pytest.mark.parametrize("options", OPTIONS)
def test_each_stream_is_as_if_alone(options, built_for, times, seed, open_streams):
    open_streams(built_for, built_for * times, seed, **OPTIONS[options]).run(30)


@pytest.mark.parametrize("built_for", [1, 4])
def test_by_each_backend(built_for, backend, open_streams):
    open_streams(built_for, 4, backend=backend, **SMALL).run(30)


def test_estimated_colours(open_session):
    session = open_session(engine=engines.memory(3, estimates=True), outputs=("rgba", "pha"))
    alone = [open_session(engine=engines.memory(estimates=True), outputs=("rgba", "pha")) for _ in range(3)]
    Streams(session, alone).run(20)


@pytest.mark.parametrize("name", ["rvm_mobilenetv3-batch2"])
def test_a_real_network(name, backend, open_session):
    """Beside frames in both streams of another session: the same network in the same batch."""
    engine = engines.of_vector(name)
    session, plain = (open_session(engine=engine, backend=backend) for _ in range(2))
    for seed in range(3):
        frames = [engines.noise(2 * seed + stream, 123, 77) for stream in range(2)]
        mattes = session.step({0: frames[0]}) | session.step({1: frames[1]})
        expected = plain(np.stack(frames))
        for stream in range(2):
            for each in expected.names:
                np.testing.assert_allclose(mattes[stream][each], expected[each][stream], atol=1)


def test_no_frames_are_no_mattes(open_session):
    session = open_session(engine=engines.memory(2))
    assert session.step({}) == {}
    assert session.stats().frames == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_results_come_from_few_arrays(batch, open_session):
    session = open_session(engine=engines.memory(batch), **SMALL)
    for seed in range(20):
        for matte in session.step(dict.fromkeys(range(batch), engines.noise(seed))).values():
            del matte
    stats = session.stats()
    assert (stats.frames, stats.allocations, stats.bytes_in) == (20, 0, 0)


@pytest.mark.parametrize("batch", [1, 2])
def test_results_are_never_overwritten(batch, open_session):
    session = open_session(engine=engines.memory(batch), **SMALL)
    kept = [session.step({0: engines.noise(seed)})[0] for seed in range(20)]
    alone = open_session(**SMALL)
    for seed, matte in enumerate(kept):
        assert_equal(alone(engines.noise(seed)), matte)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_ring_is_the_streams_own(batch, open_session):
    session = open_session(engine=engines.memory(batch), ring=2, outputs=("pha",))
    first, second = (session.step({0: engines.noise(seed)})[0] for seed in range(2))
    if batch == 2:
        session.step({1: FRAME})
        session.step({1: FRAME})
    before = first.copy(), second.copy()
    session.step({0: FRAME})
    assert (first.pha != before[0].pha).any()
    assert_equal(before[1], second)


def test_kinds_of_pictures_are_mixed(open_session):
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image").fromarray(OTHER)
    tensor = torch.from_numpy(FRAME).permute(2, 0, 1).float() / 255
    session, alone = open_session(engine=engines.memory(3), outputs=("pha",)), open_session(outputs=("pha",))
    mattes = session.step({2: tensor, 0: image, 1: FRAME})
    assert {slot: type(matte.pha) is torch.Tensor for slot, matte in mattes.items()} == {2: True, 0: False, 1: False}
    for slot, picture in enumerate([image, FRAME, tensor]):
        alone.reset()
        np.testing.assert_array_equal(np.asarray(mattes[slot].pha), np.asarray(alone(picture).pha))
    session.step({2: FRAME})  # from another place than the one before in its stream
    assert isinstance(session.step({2: FRAME})[2].pha, np.ndarray)


# ---------------------------------------------------------------------------------------------------------------------
# What runs


def watched(session):
    """The titles of the steps that run from now on."""
    seen = []

    def watch(title, step):
        return lambda *arguments: (seen.append(title), step(*arguments))

    session.watch(watch)
    return seen


@pytest.mark.parametrize(
    ("slots", "networks"), [([0], 1), ([0, 1], 1), ([3], 1), ([1, 2], 2), ([0, 5], 2), ([4, 3, 1], 3)]
)
def test_only_groups_with_a_frame_run(slots, networks, open_session):
    session = open_session(engine=engines.memory(2), batch=6, outputs=("pha",))
    seen = watched(session)
    for _ in range(3):
        session.step(dict.fromkeys(slots, FRAME))
        assert seen.count("network-0") == networks
        assert seen.count("FrameSample") == seen.count("MatteUpsample") == len(slots)
        assert seen.index("network-0") > len(slots) - 1
        seen.clear()


def test_steps_are_bound_once(monkeypatch, open_session):
    """Which streams have a frame does not matter, nor does a size that comes and goes."""
    session = open_session(engine=engines.memory(4), outputs=("pha",))
    bound, schedule = [], session._executor.schedule_streams
    monkeypatch.setattr(
        session._executor, "schedule_streams", lambda programs: (bound.append(set(programs)), schedule(programs))[1]
    )
    session.step(dict.fromkeys(range(4), FRAME))
    for slots in ([0], [1, 3], [0, 2], [2, 3, 1]):
        session.step(dict.fromkeys(slots, FRAME))
    assert bound == [{0, 1, 2, 3}]
    for _ in range(3):
        session.step({0: engines.noise(3, 64, 48)})
        session.step({0: FRAME})
    assert len(bound) == 2
    for width in (40, 41, 42):
        session.step({0: engines.noise(3, width, 48)})
    assert len(session._schedules) == 2


# ---------------------------------------------------------------------------------------------------------------------
# Failures


WRONG: dict[str, tuple[dict[int, Any], dict[str, Any], type[Exception], str]] = {
    "a stream that is not there": ({0: FRAME, 4: FRAME}, {}, SettingError, "slot is 4; expected 0 to 3"),
    "a batch": ({1: np.stack([FRAME] * 2)}, {}, FrameError, r"frame is uint8 \(2, 24, 32, 3\); expected a single"),
    "no picture": ({0: FRAME, 3: None}, {}, FrameError, "frame 3 "),
    "NaN": ({0: FRAME, 1: np.full((9, 9, 3), np.nan, np.float32)}, {}, FrameError, "NaN"),
    "a background alone": ({0: FRAME}, {"backgrounds": {0: "red", 2: "red"}}, FrameError, "stream 2 has a background"),
    "a wrong background": ({0: FRAME}, {"backgrounds": {0: "reed"}}, SettingError, "background is 'reed'"),
    "a background of a stream that is not there": (
        {0: FRAME},
        {"backgrounds": {7: "red"}},
        SettingError,
        "slot is 7; expected 0 to 3",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_leaves_no_trace(wrong, open_streams):
    frames, more, kind, message = WRONG[wrong]
    streams = open_streams(2, 4, outputs=("composite",), background="green")
    for _ in range(3):
        streams.step()
    before, count = streams.session.state, streams.session.stats().frames
    with pytest.raises(kind, match=message):
        streams.session.step(frames, **more)
    streams.expect_states(before, range(4))
    assert streams.session.stats().frames == count
    streams.run(10)


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("slots", [[0], [1, 2], [0, 1, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("scene_cut", [None, 0.1])
def test_a_failed_network_leaves_no_trace(scene_cut, slots, size, monkeypatch, open_streams):
    streams = open_streams(2, 4, scene_cut=scene_cut, **SMALL)
    streams.session.step(dict.fromkeys(range(4), engines.grey(10)))
    for session in streams.alone:
        session(engines.grey(10))
    before = streams.session.state

    def fail(self, frame=None):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(RunNetwork, "run", fail)
        for _ in range(2):
            with pytest.raises(BackendError, match="network-0 failed: no"):
                streams.session.step(dict.fromkeys(slots, engines.grey(200, *size)))
            streams.expect_states(before, range(4))
    mattes = streams.session.step(dict.fromkeys(slots, engines.grey(200, *size)))
    for slot, matte in mattes.items():
        assert_equal(streams.alone[slot](engines.grey(200, *size)), matte)


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("slots", [[0], [2, 5], [0, 3, 5, 8], [0, 1, 2, 4, 5, 6, 7]])
def test_an_interrupt_at_any_copy_leaves_no_trace(slots, size, monkeypatch, open_session):
    session = open_session(engine=engines.memory(3), batch=9, outputs=("alpha",))
    session.step(dict.fromkeys(range(9), FRAME))
    before, copy = session.state["memory"], HostMemory.copy
    for number in range(100):
        left = [number]

        def interrupted(self, to, source, left=left):
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            copy(self, to, source)

        with monkeypatch.context() as patch:
            patch.setattr(HostMemory, "copy", interrupted)
            try:
                session.step(dict.fromkeys(slots, engines.noise(3, *size)))
            except KeyboardInterrupt:
                np.testing.assert_array_equal(session.state["memory"], before)
                continue
        break
    assert number > 0, "nothing was copied"
    assert (session.state["memory"][slots] != before[slots]).any()


def test_models_that_need_plates_are_refused(open_session):
    session = open_session(engine=engines.memory(2, with_plate=True))
    with pytest.raises(FrameError, match="memory needs a plate for each picture; pass one frame of every stream"):
        session.step({0: FRAME})


def test_a_closed_session_is_refused(open_session):
    session = open_session()
    session.close()
    with pytest.raises(FrameError, match="closed"):
        session.step({0: FRAME})


# ---------------------------------------------------------------------------------------------------------------------
# Beside other calls


def test_between_ordinary_calls(open_session):
    """A stream knows the size of its last frame, whichever call it came with."""
    session = open_session(engine=engines.memory(2), **SMALL)
    alone = [open_session(**SMALL) for _ in range(2)]
    large = engines.noise(5, 64, 48)

    def both(frame):
        matte = session(np.stack([frame] * 2))
        for slot in range(2):
            np.testing.assert_array_equal(matte.pha[slot], alone[slot](frame).pha)

    def one(slot, frame):
        assert_equal(alone[slot](frame), session.step({slot: frame})[slot])

    both(FRAME)
    one(1, large)
    one(0, OTHER)
    both(OTHER)
    both(large)
    one(0, large)
    one(0, FRAME)
    both(large)
    session.each([FRAME])
    for each in alone:
        each.reset()
    one(1, large)


def test_a_fork_knows_the_size_of_each_stream(open_session):
    session = open_session(engine=engines.memory(2), **SMALL)
    session.step({0: FRAME, 1: engines.noise(5, 64, 48)})
    twin = session.fork()
    frames = {0: OTHER, 1: OTHER}
    mattes, expected = twin.step(frames), session.step(frames)
    for slot in range(2):
        assert_equal(expected[slot], mattes[slot])
    assert expected[1].alpha.mean() < expected[0].alpha.mean(), "a stream of another size begins anew"


def test_states_that_are_set_go_on(open_session):
    session, other = (open_session(engine=engines.memory(2), **SMALL) for _ in range(2))
    session.step({0: FRAME})
    session.step({1: FRAME})
    other.state = session.state
    expected = session.step({0: OTHER, 1: OTHER})
    for slot, matte in other.step({0: OTHER, 1: OTHER}).items():
        assert_equal(expected[slot], matte)
