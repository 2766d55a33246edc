"""What composites are made over."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from trtmatte.errors import FrameError, SettingError

FRAME = engines.noise(1)
PICTURE = engines.noise(2)
OUTPUTS = ("fgr", "pha", "composite")


def over(matte, picture):
    """The composite as numpy makes it."""
    pha = matte.pha.astype(np.float64) / 255
    return matte.fgr * pha + np.asarray(picture, np.float64) * (1 - pha)


def assert_over(matte, picture, steps=1.0):
    assert np.abs(matte.composite - over(matte, picture)).max() <= steps


@pytest.mark.parametrize(
    ("background", "colour"),
    [
        ("red", (255, 0, 0)),
        (" White ", (255, 255, 255)),
        ("greenscreen", (120, 255, 155)),
        ("#0a141e", (10, 20, 30)),
        ("#fb0", (255, 187, 0)),
        ((10, 20, 30), (10, 20, 30)),
        ([1, 1, 1], (1, 1, 1)),
        ((0.2, 0.4, 1.0), (51, 102, 255)),
    ],
)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_colours_are_red_green_blue(background, colour, color, open_session):
    matte = open_session(outputs=OUTPUTS, background=background, color=color)(FRAME)
    assert_over(matte, colour if color == "rgb" else colour[::-1])


@pytest.mark.parametrize("how", ["array", "float", "planes", "image", "path", "text"])
def test_pictures(how, open_session, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "beach.png")
    background = {
        "array": PICTURE,
        "float": PICTURE.astype(np.float32) / 255,
        "planes": PICTURE.transpose(2, 0, 1),
        "image": Image.fromarray(PICTURE),
        "path": tmp_path / "beach.png",
        "text": str(tmp_path / "beach.png"),
    }[how]
    assert_over(open_session(outputs=OUTPUTS, background=background)(FRAME), PICTURE)


def test_pictures_of_another_size_are_stretched(open_session):
    ramp = np.repeat(np.array([[[0] * 3, [240] * 3]], np.uint8), 5, axis=0)
    matte = open_session(outputs=OUTPUTS, background=ramp)(FRAME)
    places = np.clip((np.arange(32) + 0.5) / 16 - 0.5, 0, 1)
    assert_over(matte, np.broadcast_to((240 * places)[None, :, None], FRAME.shape))


def test_a_picture_with_each_frame(open_session):
    session = open_session(outputs=OUTPUTS, background="black")
    for seed in range(3):
        assert_over(session(FRAME, background=engines.noise(seed)), engines.noise(seed))
        with pytest.warns(FutureWarning, match="as the second argument is now called background"):
            assert_over(session(FRAME, engines.noise(seed + 9)), engines.noise(seed + 9))
        assert_over(session(FRAME), (0, 0, 0))
    assert_over(session(FRAME, background="white"), (255, 255, 255))


def test_the_session_keeps_a_copy_of_its_own_picture(open_session):
    picture = PICTURE.copy()
    session = open_session(outputs=OUTPUTS, background=picture)
    picture[:] = 0
    assert_over(session(FRAME), PICTURE)


@pytest.mark.parametrize("built_for", [1, 2])
def test_pictures_of_a_batch_and_of_a_chunk(built_for, open_session):
    session = open_session(engine=engines.memory(built_for), batch=2, outputs=OUTPUTS, background="red")
    frames = np.stack([np.stack([engines.noise(3 * slot + time) for time in range(3)]) for slot in range(2)])
    pictures = frames[:, ::-1]
    each, shared = session(frames, background=pictures).copy(), session(frames, background=PICTURE).copy()
    a_stream = session(frames, background=pictures[:, 0]).copy()
    a_time = session(frames, background=pictures[:1]).copy()
    for slot in range(2):
        for time in range(3):
            for matte, picture in (
                (each, pictures[slot, time]),
                (shared, PICTURE),
                (a_stream, pictures[slot, 0]),
                (a_time, pictures[0, time]),
            ):
                one = {name: matte[name][slot, time] for name in OUTPUTS}
                assert_over(type(matte)(one), picture)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("form", ["rows", "planes", "float"])
def test_blur(color, form, open_session):
    """Far from what changes, a blurred frame is the frame; across a step it rises as the bell's integral does."""
    frame = np.zeros((216, 160, 3), np.uint8)
    frame[:, 80:] = (250, 100, 50)
    rows: np.ndarray = frame if color == "rgb" else frame[..., ::-1]
    shown = {"rows": rows, "planes": rows.transpose(2, 0, 1), "float": rows.astype(np.float32) / 255}[form]
    session = open_session(outputs=("composite", "pha"), background="blur:40", color=color, dtype="float32")
    black = np.zeros((1, 1, 12, 16), np.float32)
    matte = session(np.ascontiguousarray(shown))
    pha = matte.pha
    blurred = (matte.composite - (frame if color == "rgb" else frame[..., ::-1]) / 255 * pha) / (1 - pha)
    blurred = blurred if color == "rgb" else blurred[..., ::-1]
    assert black.shape == session.state["memory"].shape
    for channel, height in enumerate((250, 100, 50)):
        profile = blurred[108, :, channel] * 255 / height
        np.testing.assert_allclose(profile[:40], 0, atol=0.01)
        np.testing.assert_allclose(profile[120:], 1, atol=0.01)
        sigma = 40 * 216 / 1080
        assert abs(profile[int(80 + sigma)] - 0.841) < 0.05
        assert abs(profile[int(80 - sigma)] - 0.159) < 0.05


@pytest.mark.parametrize(
    ("background", "message"),
    [
        ("blanched almond", "which is no file either; expected a colour"),
        ("#12345", "no file"),
        ("blur:soft", "N above 0"),
        ("blur:0", "N above 0"),
        ("blur:-3", "N above 0"),
        ((300, 0, 0), "expected a colour"),
        ((1.5, 0.0, 0.0), "expected a colour"),
        (("a", "b", "c"), "expected a colour"),
        (7, "expected a colour"),
    ],
)
def test_wrong_backgrounds_are_refused(background, message, open_session):
    with pytest.raises(SettingError, match=message):
        open_session(outputs=OUTPUTS, background=background)


def test_a_file_that_is_no_picture(open_session, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(SettingError, match=r"notes\.png is no picture"):
        open_session(outputs=OUTPUTS, background=tmp_path / "notes.png")


def test_a_composite_needs_a_background(open_session):
    session = open_session(outputs=OUTPUTS)
    with pytest.raises(FrameError, match="needs a background"):
        session(FRAME)
    assert_over(session(FRAME, background="red"), (255, 0, 0))


def test_a_background_needs_a_composite(open_session):
    with pytest.raises(SettingError, match="ask for 'composite'"):
        open_session(background="red")
    with pytest.raises(SettingError, match="memory needs none: leave plate out"):
        open_session(plate="red")
    with pytest.raises(FrameError, match="no composite"):
        open_session()(FRAME, background="red")


def test_wrong_pictures_with_a_frame_leave_no_trace(open_session):
    session = open_session(outputs=OUTPUTS)
    session(FRAME, background="red")
    before = session.state["memory"]
    for background in (PICTURE.astype(np.float64), np.stack([PICTURE] * 2), PICTURE[:, :0]):
        with pytest.raises(FrameError, match="background"):
            session(FRAME, background=background)
    with pytest.raises(FrameError, match="a plate is given, but memory needs none"):
        session(FRAME, PICTURE, background=PICTURE)
    np.testing.assert_array_equal(session.state["memory"], before)


def test_the_old_word_works_with_a_notice(open_session):
    with pytest.warns(FutureWarning, match="backdrop is now called background") as caught:
        session = open_session(outputs=OUTPUTS, backdrop="red")
    assert caught[0].filename.endswith("conftest.py"), "the notice is at the caller's line"
    assert_over(session(FRAME), (255, 0, 0))
    with pytest.warns(FutureWarning, match="backdrop is now called background"):
        assert_over(session(FRAME, backdrop="white"), (255, 255, 255))
    with pytest.warns(FutureWarning), pytest.raises(FrameError, match="both given"):
        session(FRAME, background="red", backdrop="white")


def test_the_old_words_for_a_model_with_a_plate(open_session):
    engine = engines.memory(with_plate=True)
    with pytest.warns(FutureWarning, match="is now called plate"):
        old = open_session(engine=engine, background=PICTURE)
    new = open_session(engine=engine, plate=PICTURE)
    np.testing.assert_array_equal(old(FRAME).pha, new(FRAME).pha)
    with pytest.warns(FutureWarning):
        both = open_session(engine=engine, outputs=OUTPUTS, background=PICTURE, backdrop="red")
    now = open_session(engine=engine, outputs=OUTPUTS, plate=PICTURE, background="red")
    np.testing.assert_array_equal(both(FRAME).composite, now(FRAME).composite)


def test_the_old_words_with_each_frame_of_a_model_with_a_plate(open_session):
    """Without a composite a background can only be the plate; with one, the backdrop tells that it is."""
    engine = engines.memory(with_plate=True)
    old, new = (open_session(engine=engine) for _ in range(2))
    with pytest.warns(FutureWarning, match="background for the empty scene is now called plate"):
        np.testing.assert_array_equal(old(FRAME, background=PICTURE).pha, new(FRAME, PICTURE).pha)
    old, new = (open_session(engine=engine, outputs=OUTPUTS) for _ in range(2))
    with pytest.warns(FutureWarning, match="backdrop is now called background"):
        matte = old(FRAME, background=PICTURE, backdrop="red")
    np.testing.assert_array_equal(matte.composite, new(FRAME, PICTURE, background="red").composite)
    with pytest.raises(FrameError, match="needs the plate"):
        open_session(engine=engine, outputs=OUTPUTS)(FRAME, background="red")
