"""Where results are written, and how long they stay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from trtmatte import Matte
from trtmatte.errors import FrameError, SettingError

SHAPES = {"fgr": (24, 32, 3), "pha": (24, 32, 1)}


@pytest.fixture
def session(open_session):
    return open_session()


def arrays():
    return {name: np.zeros(shape, np.uint8) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("ring", [1, 2, 3, 5])
def test_a_result_stays_for_as_long_as_promised(ring, open_session):
    session = open_session(ring=ring)
    results = [(matte := session(engines.noise(seed)), matte.copy()) for seed in range(3)]
    for seed in range(3, 10):
        results.append((matte := session(engines.noise(seed)), matte.copy()))
        for live, kept in results[-ring:]:
            np.testing.assert_array_equal(live.pha, kept.pha)
            np.testing.assert_array_equal(live.fgr, kept.fgr)
    addresses = [live.pha.ctypes.data for live, _ in results]
    assert len(set(addresses)) == ring
    assert addresses[ring:] == addresses[:-ring]


def test_a_call_that_fails_does_not_shorten_that(open_session):
    session = open_session(ring=2)
    kept = session(engines.noise(1))
    copy = kept.copy()
    for _ in range(3):
        with pytest.raises(FrameError):
            session(np.full((24, 32, 3), np.nan, np.float32))
    session(engines.noise(2))
    np.testing.assert_array_equal(kept.fgr, copy.fgr)


@pytest.mark.parametrize("kind", ["by name", "in order", "a matte"])
def test_results_go_into_the_caller_s_arrays(kind, session):
    own = arrays()
    out = {"by name": own, "in order": tuple(own.values()), "a matte": Matte(own)}[kind]
    frame = engines.noise(1)
    matte = session(frame, out=out)
    assert matte.fgr is own["fgr"]
    assert matte.pha is own["pha"]
    np.testing.assert_array_equal(own["fgr"], frame)
    assert own["pha"].any()
    assert session.stats().bytes_out == session.stats().bytes_in == 0


def test_a_single_output_goes_into_a_single_array(open_session):
    own = np.zeros((24, 32, 1), np.uint8)
    assert open_session(outputs="pha")(engines.noise(1), out=own).pha is own
    assert own.any()


def test_out_may_be_a_window_or_torch_s(open_session, session):
    canvas = np.zeros((40, 50, 4), np.uint8)
    session(engines.noise(1), out={"fgr": canvas[8:32, 9:41, :3], "pha": canvas[8:32, 9:41, 3:]})
    np.testing.assert_array_equal(canvas[8:32, 9:41, :3], engines.noise(1))
    assert canvas[8:32, 9:41, 3].any()
    canvas[8:32, 9:41] = 0
    assert not canvas.any()
    torch = pytest.importorskip("torch")
    own = torch.zeros(24, 32, 1, dtype=torch.uint8)
    assert open_session(outputs=("pha",))(engines.noise(1), out=(own,)).pha is own
    assert own.any()


def test_out_of_a_chunk(open_session):
    frames = np.stack([engines.noise(seed) for seed in range(3)])[None]
    own = np.zeros((1, 3, 24, 32, 1), np.uint8)
    open_session(outputs=("pha",))(frames, out=own)
    np.testing.assert_array_equal(own, open_session(outputs=("pha",))(frames).pha)


def read_only():
    own = arrays()
    own["pha"].flags.writeable = False
    return own


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (
            {**arrays(), "pha": np.zeros((24, 32), np.uint8)},
            r"out\['pha'\] is uint8 \(24, 32\); expected .*\(24, 32, 1\)",
        ),
        ({**arrays(), "pha": np.zeros((24, 32, 1), np.float32)}, "is float32"),
        ({**arrays(), "fgr": np.zeros((48, 64, 3), np.uint8)}, r"expected uint8 \(24, 32, 3\)"),
        ({"pha": arrays()["pha"]}, "out has pha; expected fgr, pha"),
        ({**arrays(), "rgba": np.zeros((24, 32, 4), np.uint8)}, "expected fgr, pha"),
        (arrays()["pha"], r"1 array\(s\); expected 2: fgr, pha"),
        (read_only(), "read-only"),
    ],
)
def test_wrong_arrays_are_refused(out, message, session):
    session(engines.noise(1))
    before = session.state["memory"]
    with pytest.raises(FrameError, match=message):
        session(engines.noise(2), out=out)
    np.testing.assert_array_equal(session.state["memory"], before)
    assert session(engines.noise(2)).pha.any()


def test_a_result_can_be_the_next_frame(session):
    first = session(engines.noise(1)).fgr
    np.testing.assert_array_equal(session(first).fgr, engines.noise(1))


def test_frames_are_read_where_they_are(open_session):
    session = open_session(outputs=("fgr",))
    frame = engines.noise(1)
    frame.flags.writeable = False
    np.testing.assert_array_equal(session(frame).fgr, frame)
    assert session.stats().bytes_in == 0


# ---------------------------------------------------------------------------------------------------------------------
# The matte itself


def test_a_matte_unpacks_and_is_asked_by_name_and_place(session):
    matte = session(engines.noise(1))
    fgr, pha = matte
    assert fgr is matte.fgr is matte["fgr"] is matte[0]
    assert pha is matte.pha is matte["pha"] is matte[-1]
    assert len(matte) == 2
    assert matte.names == ("fgr", "pha")
    with pytest.raises(AttributeError, match="has no rgba"):
        _ = matte.rgba
    with pytest.raises(SettingError, match="rgba was not asked for"):
        matte["rgba"]
    assert repr(matte) == "Matte(fgr: (24, 32, 3), pha: (24, 32, 1))"


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_matte_as_images(layout, dtype, color, open_session):
    outputs = ("fgr", "pha", "rgba", "composite", "alpha")
    frame = engines.noise(1)
    session = open_session(outputs=outputs, layout=layout, dtype=dtype, color=color, background="white")
    images = session(frame if color == "rgb" else frame[..., ::-1]).pil()
    assert [image.mode for image in images] == ["RGB", "L", "RGBA", "RGB", "L"]
    assert [image.size for image in images] == [(32, 24)] * 4 + [(16, 12)]
    np.testing.assert_array_equal(np.asarray(images.fgr), frame)
    np.testing.assert_array_equal(np.asarray(images.rgba)[..., :3], frame)
    np.testing.assert_array_equal(np.asarray(images.rgba)[..., 3], np.asarray(images.pha))


def test_a_copy_is_the_caller_s(open_session):
    session = open_session(ring=3)
    live = session(engines.noise(1))
    kept = live.copy()
    for seed in range(2, 6):
        session(engines.noise(seed))
    np.testing.assert_array_equal(kept.fgr, engines.noise(1))
    assert isinstance(kept.pil().fgr, Image.Image)
