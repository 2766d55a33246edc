"""A caller's arrays in a session: what lies or shares memory is refused before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from tests.ops.arguments import Dlpack, Interface
from tests.ops.specification import picture
from tests.runtime.session import engines
from trtmatte import FrameError

HEIGHT, WIDTH = engines.HEIGHT, engines.WIDTH
FRAME = picture(HEIGHT, WIDTH)


def outputs(front=()):
    return {
        "fgr": np.full((*front, HEIGHT, WIDTH, 3), 7, np.uint8),
        "pha": np.full((*front, HEIGHT, WIDTH, 1), 7, np.uint8),
    }


def refused(session, message, frame=FRAME, **settings):
    with pytest.raises(FrameError, match=message):
        session(frame, **settings)
    assert session.stats().frames == 0


@pytest.mark.parametrize("wrap", [memoryview, Interface, Dlpack, lambda array: array.view(np.recarray)])
def test_protocols_are_read(open_session, wrap):
    expected = open_session()(FRAME).pha
    np.testing.assert_array_equal(open_session()(wrap(FRAME)).pha, expected)
    out = outputs()
    open_session()(FRAME, out={name: wrap(array) for name, array in out.items()})
    np.testing.assert_array_equal(out["pha"], expected)


def test_protocols_that_lie(open_session):
    session = open_session()
    refused(session, "frame reaches beyond its own buffer", Interface(FRAME, data=FRAME.tobytes()[:-1], strides=None))
    refused(session, "frame has more elements than any memory", Interface(FRAME, shape=(2**62, 2**62, 3)))
    refused(session, "frame has a mask", Interface(FRAME, mask=FRAME > 9))
    refused(session, "frame has a mask", np.ma.masked_array(FRAME, mask=FRAME > 9))
    out = outputs()
    refused(session, "has a mask", out={**out, "pha": np.ma.masked_array(out["pha"])})


@pytest.mark.parametrize("name", ["fgr", "pha"])
def test_outputs_over_themselves(open_session, name):
    out = outputs()
    shape = out[name].shape
    out[name] = as_strided(out[name], shape, (WIDTH * shape[2] - 1, shape[2], 1))
    refused(open_session(), rf"out\['{name}'\] .*share memory", out=out)


def test_outputs_over_outputs(open_session):
    out = outputs()
    refused(open_session(), r"out\['fgr'\] overlaps out\['pha'\]|out\['pha'\] overlaps out\['fgr'\]",
            out={**out, "pha": out["fgr"][..., :1]})  # fmt: skip
    memory = np.zeros(HEIGHT * WIDTH * 4, np.uint8)
    pha = memory[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH, 1)
    small = memory[: HEIGHT * WIDTH].view(np.float32).reshape(1, 1, HEIGHT // 2, WIDTH // 2)
    refused(open_session(outputs=("pha", "alpha")), "overlaps", out={"pha": pha, "alpha": small})


def test_outputs_over_a_later_frame(open_session):
    """The output of the first frame of a chunk would be the second one's input."""
    memory = np.zeros((1, 4, HEIGHT, WIDTH, 3), np.uint8)
    frames, out = memory[:, 1:3], {**outputs((1, 2)), "fgr": memory[:, 2:4]}
    refused(open_session(), r"out\['fgr'\] overlaps frame", frames, out=out)
    before = FRAME.copy()
    refused(open_session(), r"out\['fgr'\] overlaps frame", before, out={**outputs(), "fgr": before})
    np.testing.assert_array_equal(before, FRAME)


def test_outputs_over_pictures_of_the_call(open_session):
    session = open_session(engine=engines.memory(with_plate=True), outputs=("composite",))
    memory = FRAME.copy()
    refused(session, "overlaps plate", plate=memory, background=(0, 0, 0), out=[memory])
    refused(session, "overlaps background", plate=FRAME, background=memory, out=[memory[::-1]])


def test_alpha_beside_its_colours(open_session):
    """Channels of one picture lie between each other and share nothing."""
    expected = open_session()(FRAME).copy()
    memory = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    open_session()(FRAME, out={"fgr": memory[..., :3], "pha": memory[..., 3:]})
    np.testing.assert_array_equal(memory, np.concatenate([expected.fgr, expected.pha], axis=2))
