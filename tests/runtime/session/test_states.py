"""What one frame leaves to the next, and who may touch it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.errors import FrameError, SettingError

OTHER_SIZE = engines.noise(3, 64, 48)


def alpha(session, frame):
    return session(frame).alpha.copy()


@pytest.fixture
def session(open_session):
    return open_session(outputs=("alpha", "pha"))


def test_states_begin_as_zeros_of_full_shape(session):
    assert {name: value.shape for name, value in session.state.items()} == {"memory": (1, 1, 12, 16)}
    assert not session.state["memory"].any()


def test_frames_build_on_each_other(session):
    means = [float(alpha(session, engines.grey(102)).mean()) for _ in range(3)]
    np.testing.assert_allclose(means, [0.2, 0.3, 0.35], atol=1e-6)


def test_reset_begins_anew(session):
    first = alpha(session, engines.noise(1))
    alpha(session, engines.noise(2))
    session.reset()
    assert not session.state["memory"].any()
    np.testing.assert_array_equal(alpha(session, engines.noise(1)), first)


@pytest.mark.parametrize("built_for", [1, 3])
def test_slots_are_reset_on_their_own(built_for, open_session):
    session = open_session(engine=engines.memory(built_for), batch=3, outputs=("alpha",))
    frames = np.stack([engines.grey(102)] * 3)
    session(frames)
    session.reset([0, 2])
    np.testing.assert_allclose(alpha(session, frames).mean(axis=(1, 2, 3)), [0.2, 0.3, 0.2], atol=1e-6)
    session.reset(1)
    np.testing.assert_allclose(alpha(session, frames).mean(axis=(1, 2, 3)), [0.3, 0.2, 0.3], atol=1e-6)
    for slots in (3, [-1], ["all"], [0.5]):
        with pytest.raises(SettingError, match="expected 0 to 2"):
            session.reset(slots)


def test_a_stream_goes_on_from_a_state_elsewhere(session, open_session):
    alpha(session, engines.noise(1))
    state = session.state
    expected = alpha(session, engines.noise(2))
    elsewhere = open_session(outputs=("alpha",))
    elsewhere.state = state
    np.testing.assert_array_equal(alpha(elsewhere, engines.noise(2)), expected)


def test_a_state_is_a_copy_both_ways(session):
    alpha(session, engines.noise(1))
    state = session.state
    state["memory"][:] = 7
    assert session.state["memory"].max() < 1
    session.state = state
    state["memory"][:] = 0
    assert (session.state["memory"] == 7).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "state lacks memory"),
        ({"memory": np.zeros((1, 1, 12, 16), np.float32), "r1": np.zeros(1)}, "has 'r1'; expected memory"),
        ({"memory": np.zeros((1, 1, 12, 15), np.float32)}, r"expected float32 \(1, 1, 12, 16\)"),
        ({"memory": np.zeros((1, 1, 12, 16))}, "is float64"),
        ({"memory": "zeros"}, "is a str"),
    ],
)
def test_wrong_states_are_refused_whole(state, message, session):
    alpha(session, engines.noise(1))
    before = session.state["memory"]
    with pytest.raises(SettingError, match=message):
        session.state = state
    np.testing.assert_array_equal(session.state["memory"], before)


def test_a_fork_goes_its_own_way(session):
    alpha(session, engines.noise(1))
    twin = session.fork()
    assert (twin.backend, twin.outputs) == (session.backend, session.outputs)
    ours, theirs = alpha(session, engines.noise(2)), alpha(twin, engines.noise(3))
    assert (ours != theirs).any()
    np.testing.assert_array_equal(twin.state["memory"], theirs)
    np.testing.assert_array_equal(session.state["memory"], ours)
    twin.close()
    alpha(session, engines.noise(4))


def test_another_size_begins_another_stream(session, open_session):
    alpha(session, engines.noise(1))
    changed = alpha(session, OTHER_SIZE)
    np.testing.assert_array_equal(changed, alpha(open_session(outputs=("alpha",)), OTHER_SIZE))
    first = alpha(session, engines.noise(1))
    np.testing.assert_array_equal(first, alpha(open_session(outputs=("alpha",)), engines.noise(1)))


def test_a_fork_knows_the_size_of_its_stream(session):
    first = alpha(session, engines.noise(1))
    twin = session.fork()
    alpha(twin, OTHER_SIZE)
    np.testing.assert_array_equal(alpha(twin, engines.noise(1)), first)


def test_a_failed_frame_of_another_size_leaves_the_stream_as_it_was(session):
    alpha(session, engines.noise(1))
    twin = session.fork()
    with pytest.raises(FrameError, match="NaN"):
        session(np.full(OTHER_SIZE.shape, np.nan, np.float32))
    np.testing.assert_array_equal(alpha(session, engines.noise(2)), alpha(twin, engines.noise(2)))


def test_a_failure_in_the_last_op_leaves_no_trace(session):
    """The result cannot be written into the frame: only the op that writes it finds out."""
    frame = engines.noise(1)
    alpha(session, frame)
    twin = session.fork()
    with pytest.raises(FrameError, match="overlaps"):
        session(frame, out={"alpha": np.empty((1, 1, 12, 16), np.float32), "pha": frame[..., :1]})
    np.testing.assert_array_equal(alpha(session, engines.noise(2)), alpha(twin, engines.noise(2)))


# ---------------------------------------------------------------------------------------------------------------------
# Scene cuts


def test_a_scene_cut_begins_anew(open_session):
    plain = open_session(outputs=("alpha",))
    session = open_session(outputs=("alpha",), scene_cut=0.3)
    for frame in (engines.grey(20), engines.grey(40)):
        np.testing.assert_array_equal(alpha(session, frame), alpha(plain, frame))
    plain.reset()
    for frame in (engines.grey(240), engines.grey(220)):
        np.testing.assert_array_equal(alpha(session, frame), alpha(plain, frame))


@pytest.mark.parametrize("built_for", [1, 2])
def test_a_scene_cut_is_the_stream_s_own(built_for, open_session):
    session = open_session(engine=engines.memory(built_for), batch=2, outputs=("alpha",), scene_cut=0.3)
    session(np.stack([engines.grey(51), engines.grey(51)]))
    means = alpha(session, np.stack([engines.grey(51), engines.grey(255)])).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [0.15, 0.5], atol=1e-6)


def test_without_it_nothing_is_reset(open_session):
    session = open_session(outputs=("alpha",))
    session(engines.grey(0))
    session(engines.grey(255))
    np.testing.assert_allclose(alpha(session, engines.grey(0)).mean(), 0.25, atol=1e-6)


def test_a_scene_cut_in_a_call_that_fails_leaves_no_trace(open_session):
    session = open_session(outputs=("alpha", "pha"), scene_cut=0.3)
    session(engines.grey(51))
    before = session.state["memory"]
    frame = engines.grey(255)
    with pytest.raises(FrameError, match="overlaps"):
        session(frame, out={"alpha": np.empty((1, 1, 12, 16), np.float32), "pha": frame[..., :1]})
    np.testing.assert_array_equal(session.state["memory"], before)
    assert before.any()
