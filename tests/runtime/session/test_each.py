"""Single pictures of any sizes that pass through the network together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import reference
from tests.runtime.session import engines
from trtmatte.errors import BackendError, FrameError
from trtmatte.runtime.session.steps import RunNetwork

SIZES = [(32, 24), (57, 33), (8, 120), (1, 1), (640, 360)]
PICTURES = [engines.noise(seed, *size) for seed, size in enumerate(SIZES)]
OPTIONS: dict[str, dict[str, Any]] = {
    "mattes": {},
    "small outputs": {"outputs": ("alpha", "pha", "ones")},
    "floats": {"dtype": "float32", "layout": "CHW"},
    "colour": {"outputs": ("composite", "rgba"), "background": "red"},
    "blur": {"outputs": ("composite",), "background": "blur", "color": "bgr"},
}


def assert_alone(mattes, pictures, session, **options):
    """The mattes are those of one picture after the other."""
    assert len(mattes) == len(pictures)
    for matte, picture in zip(mattes, pictures, strict=True):
        session.reset()
        expected = session(picture, **options)
        assert matte.names == expected.names
        for name in matte.names:
            np.testing.assert_array_equal(matte[name], expected[name])


@pytest.mark.parametrize(("built_for", "batch"), [(1, 1), (1, 5), (3, 6), (5, 5)])
@pytest.mark.parametrize("options", OPTIONS)
def test_each_picture_is_matted_as_if_alone(options, built_for, batch, backend, open_session):
    options = {**OPTIONS[options], "backend": backend}
    session = open_session(engine=engines.memory(built_for), batch=batch, **options)
    alone = open_session(**options)
    for first in range(len(PICTURES) - min(batch, 4)):  # also fewer pictures than streams
        pictures = PICTURES[first : first + batch]
        assert_alone(session.each(pictures), pictures, alone)


@pytest.mark.parametrize("name", ["modnet-96x160-batch2", "rvm_mobilenetv3-batch2"])
def test_real_networks(name, backend, open_session):
    engine = engines.of_vector(name)
    session = open_session(engine=engine, backend=backend, outputs=("pha", "rgba"))
    plain = open_session(engine=engine, backend=backend, outputs=("pha", "rgba"))
    pictures = [engines.noise(1, 123, 77), engines.noise(2, 160, 96)]
    for matte, picture in zip(session.each(pictures), pictures, strict=True):
        plain.reset()
        expected = plain([picture, picture])
        for each in matte.names:
            np.testing.assert_array_equal(matte[each], expected[each][0])
    assert reference.load(name).settings["batch"] == 2


def test_a_background_for_each(open_session):
    backgrounds = ["blur:40", (0, 255, 0), engines.noise(8, 50, 40), "#102030", engines.noise(9)]
    session = open_session(engine=engines.memory(5), outputs=("composite",))
    alone = open_session(outputs=("composite",))
    mattes = session.each(PICTURES, backgrounds=backgrounds)
    for matte, picture, background in zip(mattes, PICTURES, backgrounds, strict=True):
        assert_alone([matte], [picture], alone, background=background)


def test_kinds_of_pictures_are_mixed(open_session):
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image").fromarray(PICTURES[1])
    tensor = torch.from_numpy(PICTURES[0]).permute(2, 0, 1).float() / 255
    session, alone = open_session(engine=engines.memory(3), outputs=("pha",)), open_session(outputs=("pha",))
    mattes = session.each([tensor, image, PICTURES[2]])
    assert [type(matte.pha) is torch.Tensor for matte in mattes] == [True, False, False]
    for matte, picture in zip(mattes, [tensor, image, PICTURES[2]], strict=True):
        alone.reset()
        np.testing.assert_array_equal(np.asarray(matte.pha), np.asarray(alone(picture).pha))


def test_streams_begin_anew(open_session):
    """Before, so that no picture sees an earlier frame; and after, for the frames that follow."""
    session, fresh = (open_session(engine=engines.memory(2), outputs=("alpha",)) for _ in range(2))
    pair = [engines.noise(7), engines.noise(8)]
    for _ in range(3):
        session(pair)
    mattes = session.each(pair)
    expected = fresh(pair)
    for number, matte in enumerate(mattes):
        np.testing.assert_array_equal(matte.alpha[0], expected.alpha[number])
    fresh.reset()
    assert not session.state["memory"].any()
    np.testing.assert_array_equal(session(pair).alpha, fresh(pair).alpha)
    assert session.stats().frames == 5


def test_the_mattes_are_the_callers(open_session):
    session = open_session(engine=engines.memory(2), ring=2)
    first = session.each(PICTURES[:2])
    before = [matte.copy() for matte in first]
    for _ in range(5):
        session.each(PICTURES[2:4])
        session.each(PICTURES[1::-1])
    for matte, kept in zip(first, before, strict=True):
        for name in matte.names:
            np.testing.assert_array_equal(matte[name], kept[name])


WRONG = {
    "none": ([], {}, "there are 0 pictures; expected 1 to 2, the streams"),
    "too many": (PICTURES[:3], {}, "there are 3 pictures; expected 1 to 2"),
    "a batch": ([np.stack([PICTURES[0]] * 2)], {}, r"picture 0 is uint8 \(2, 24, 32, 3\); expected a single picture"),
    "no picture": ([PICTURES[0], None], {}, "picture 1 "),
    "other numbers": ([PICTURES[0], PICTURES[1].astype(np.int32)], {}, "picture 1 holds int32"),
    "NaN": ([PICTURES[0], np.full((9, 9, 3), np.nan, np.float32)], {}, "NaN"),
    "few backgrounds": (PICTURES[:2], {"backgrounds": ["red"]}, "there are 1 backgrounds; expected one for each of 2"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_matted_together_is_refused(wrong, open_session):
    pictures, more, message = WRONG[wrong]
    session = open_session(engine=engines.memory(2), outputs=("composite",), background="green")
    with pytest.raises(FrameError, match=message):
        session.each(pictures, **more)
    assert session.stats().frames == 0
    assert_alone(session.each(PICTURES[:2]), PICTURES[:2], open_session(outputs=("composite",), background="green"))


def test_models_that_need_plates_are_refused(open_session):
    session = open_session(engine=engines.memory(2, with_plate=True))
    with pytest.raises(FrameError, match="memory needs a plate for each picture; pass one picture after another"):
        session.each(PICTURES[:2])


def test_a_closed_session_is_refused(open_session):
    session = open_session()
    session.close()
    with pytest.raises(FrameError, match="closed"):
        session.each(PICTURES[:1])


def test_a_failed_network_leaves_fresh_streams(monkeypatch, open_session):
    session = open_session(engine=engines.memory(2), outputs=("alpha",))
    session([engines.noise(7)] * 2)

    def fail(self, frame=None):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(RunNetwork, "run", fail)
        with pytest.raises(BackendError, match="network-0 failed: no"):
            session.each(PICTURES[:2])
    assert not session.state["memory"].any()
    assert_alone(session.each(PICTURES[:2]), PICTURES[:2], open_session(outputs=("alpha",)))
