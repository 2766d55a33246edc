"""Frames of every form give the same matte."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from trtmatte.errors import FrameError, SettingError

FRAME = engines.noise(1)


class OnlyDlpack:
    """An array of somebody who speaks DLPack alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **how):
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnCuda(OnlyDlpack):
    """Says that it lives on a CUDA device."""

    shape = (engines.HEIGHT, engines.WIDTH, 3)

    def __dlpack_device__(self):
        return (2, 0)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def torch_of(array):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(array.copy())


SAME = {
    "uint8": lambda frame: frame,
    "float32": lambda frame: frame.astype(np.float32) / 255,
    "float16": lambda frame: frame.astype(np.float16) / 255,
    "read-only": read_only,
    "channels first": lambda frame: np.ascontiguousarray(frame.transpose(2, 0, 1)),
    "transposed": lambda frame: np.ascontiguousarray(frame.transpose(2, 1, 0)).transpose(2, 1, 0),
    "a window": lambda frame: np.pad(frame, ((5, 7), (3, 1), (0, 0)))[5:-7, 3:-1],
    "upside down": lambda frame: np.ascontiguousarray(frame[::-1])[::-1],
    "a batch of one": lambda frame: frame[None],
    "a chunk of one": lambda frame: frame[None, None],
    "PIL": Image.fromarray,
    "PIL with alpha": lambda frame: Image.fromarray(np.dstack([frame, np.full(frame.shape[:2], 9, np.uint8)])),
    "torch": torch_of,
    "torch float, channels first": lambda frame: torch_of(frame.transpose(2, 0, 1)) / 255,
    "torch that wants gradients": lambda frame: (torch_of(frame) / 255).requires_grad_(),
    "DLPack": lambda frame: OnlyDlpack(frame.copy()),
    "buffer": lambda frame: memoryview(frame.copy()),
}


@pytest.mark.parametrize("form", SAME)
def test_every_form_gives_the_same_matte(form, open_session):
    outputs = ("fgr", "pha", "rgba", "composite")
    plain, other = (open_session(outputs=outputs, background="red", dtype="float32") for _ in range(2))
    tolerance = 1e-3 if form == "float16" else 1e-6
    for seed in (1, 2):
        frame = engines.noise(seed)
        expected, actual = plain(frame), other(SAME[form](frame))
        for name in outputs:
            value = np.asarray(actual[name]).reshape(expected[name].shape)
            np.testing.assert_allclose(value, expected[name], atol=tolerance)
    assert other.stats().bytes_in == (2 * frame.nbytes if form.startswith("PIL") else 0)


def test_bgr_is_the_same_with_red_and_blue_exchanged(open_session):
    outputs = ("fgr", "pha", "rgba", "composite")
    picture = engines.noise(5, 7, 9)
    rgb = open_session(outputs=outputs, background=picture)(FRAME)
    bgr = open_session(outputs=outputs, background=picture[..., ::-1], color="bgr")(FRAME[..., ::-1])
    np.testing.assert_array_equal(bgr.pha, rgb.pha)
    for name in ("fgr", "composite"):
        np.testing.assert_array_equal(bgr[name][..., ::-1], rgb[name])
    np.testing.assert_array_equal(bgr.rgba[..., [2, 1, 0, 3]], rgb.rgba)


def test_images_are_rgb_whatever_arrays_are(open_session):
    image = Image.fromarray(FRAME)
    matte = open_session(color="bgr")(image)
    np.testing.assert_array_equal(matte.fgr[..., ::-1], FRAME)
    np.testing.assert_array_equal(np.asarray(matte.pil().fgr), FRAME)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", np.float32])
def test_outputs_have_the_form_that_was_asked_for(layout, dtype, open_session):
    matte = open_session(outputs=("fgr", "pha", "rgba"), layout=layout, dtype=dtype)(FRAME)
    for name, channels in (("fgr", 3), ("pha", 1), ("rgba", 4)):
        size = (engines.HEIGHT, engines.WIDTH)
        assert matte[name].shape == ((*size, channels) if layout == "HWC" else (channels, *size))
        assert matte[name].dtype == np.dtype(dtype)


def test_small_outputs_are_as_the_network_makes_them(open_session):
    session = open_session(outputs=("ones", "pha", "alpha"), dtype="float32")
    matte = session(FRAME)
    assert matte.names == ("ones", "pha", "alpha")
    assert (matte.ones == 1).all()
    means = FRAME.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3, 4)) / 510
    np.testing.assert_allclose(matte.alpha[0, 0], means, atol=1e-6)
    assert session.stats().bytes_out == 2 * 12 * 16 * 4


def test_a_chunk_is_its_frames_in_the_order_of_time(open_session):
    frames = np.stack([engines.noise(seed) for seed in range(5)])
    outputs = ("pha", "alpha", "fgr")
    one, chunks = open_session(outputs=outputs), open_session(outputs=outputs)
    expected = [one(frame).copy() for frame in frames]
    for first, last in ((0, 3), (3, 5)):
        matte = chunks(frames[None, first:last])
        assert matte.pha.shape == (1, last - first, engines.HEIGHT, engines.WIDTH, 1)
        for time in range(last - first):
            for name in outputs:
                actual = matte[name][0, time]
                np.testing.assert_array_equal(actual, expected[first + time][name].reshape(actual.shape))
    np.testing.assert_array_equal(chunks.state["memory"], one.state["memory"])
    assert chunks.stats().frames == 5


@pytest.mark.parametrize("built_for", [1, 2, 4])
def test_streams_side_by_side_do_not_meet(built_for, open_session):
    """Four streams, in as many lanes as it takes."""
    apart = [open_session(outputs=("pha", "alpha")) for _ in range(4)]
    together = open_session(engine=engines.memory(built_for), outputs=("pha", "alpha"), batch=4)
    for time in range(3):
        frames = np.stack([engines.noise(10 * time + slot) for slot in range(4)])
        matte = together(frames if time else frames[:, None])
        for slot, session in enumerate(apart):
            expected = session(frames[slot])
            np.testing.assert_array_equal(matte.pha[slot].squeeze(), expected.pha.squeeze())
            np.testing.assert_array_equal(matte.alpha[slot].squeeze(), expected.alpha.squeeze())


def test_torch_frames_give_torch_results(open_session):
    torch = pytest.importorskip("torch")
    session = open_session()
    matte = session(torch_of(FRAME))
    assert isinstance(matte.pha, torch.Tensor)
    assert matte.numpy().pha.ctypes.data == matte.pha.data_ptr()
    kept = matte.copy()
    assert kept.pha.data_ptr() != matte.pha.data_ptr()
    assert isinstance(session(FRAME).pha, np.ndarray)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.astype(np.float64), "float64; expected uint8"),
        (FRAME.astype(np.int32), "int32; expected uint8"),
        (FRAME.astype(">f4"), ">f4; expected"),
        (FRAME[..., 0], "expected .H, W, 3."),
        (FRAME[..., :2], "three channels"),
        (np.dstack([FRAME, FRAME[..., :1]]), r"alpha out: frame\[\.\.\., :3\]"),
        (FRAME[:0], "it is empty"),
        (np.stack([FRAME, FRAME]), "2 picture.* 1 stream.*batch=2.*chunk"),
        (np.full((24, 32, 3), np.nan, np.float32), "NaN .*nan_to_num"),
        (np.full((24, 32, 3), np.inf, np.float16), "infinite"),
        (FRAME.astype(np.float32), "divide it by 255"),
        (OnCuda(FRAME), "lives on a CUDA device .* move it"),
        ("frame.png", "is a str; expected an array"),
        (None, "is a NoneType; expected an array"),
    ],
)
def test_wrong_frames_are_refused_and_leave_no_trace(frame, message, open_session):
    session, twin = open_session(), open_session()
    session(FRAME), twin(FRAME)
    before = session.state["memory"]
    with pytest.raises(FrameError, match=message):
        session(frame)
    np.testing.assert_array_equal(session.state["memory"], before)
    np.testing.assert_array_equal(session(engines.noise(2)).pha, twin(engines.noise(2)).pha)


def cut_off(frame):
    """An image whose header is whole and whose pixels are not; it reads them late."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue()[: file.tell() // 2]))


def test_an_image_that_cannot_be_decoded_is_refused_and_leaves_no_trace(open_session):
    session, other = open_session(), open_session()
    np.testing.assert_array_equal(session(FRAME).pha, other(FRAME).pha)
    with pytest.raises(FrameError, match=r"frame cannot be decoded: .*damaged or cut off"):
        session(cut_off(FRAME))
    with pytest.raises(FrameError, match=r"frame cannot be decoded: .*damaged or cut off"):
        list(session.stream([cut_off(FRAME)]))
    np.testing.assert_array_equal(session(FRAME).pha, other(FRAME).pha)


def test_a_chunk_that_fails_in_its_middle_leaves_no_trace(open_session):
    session = open_session()
    session(FRAME)
    before = session.state["memory"]
    chunk = np.stack([engines.noise(seed) for seed in range(4)]).astype(np.float32)[None] / 255
    chunk[0, 2] = np.nan
    with pytest.raises(FrameError, match="NaN"):
        session(chunk)
    np.testing.assert_array_equal(session.state["memory"], before)
    assert session.stats().frames == 1


def test_a_closed_session_says_so(open_session):
    with open_session() as session:
        kept = session(FRAME).pha
        mean = kept.mean()
    for use in (lambda: session(FRAME), session.reset, session.fork, lambda: session.state):
        with pytest.raises(FrameError, match="closed; open another"):
            use()
    session.close()
    assert kept.mean() == mean


# ---------------------------------------------------------------------------------------------------------------------
# The captured background


def test_a_captured_background_comes_with_the_frame_or_at_construction(open_session):
    engine, background = engines.memory(with_plate=True), engines.noise(9)
    with_frame = open_session(engine=engine, outputs=("pha",))
    once = open_session(engine=engine, outputs=("pha",), plate=background)
    chunk = open_session(engine=engine, outputs=("pha",), plate=background)
    frames = [engines.noise(seed) for seed in range(3)]
    expected = [with_frame(frame, background).pha.copy() for frame in frames]
    whole = chunk(np.stack(frames)[None]).pha[0]
    background[:] = 0  # the session has its own copy
    for time, frame in enumerate(frames):
        np.testing.assert_array_equal(once(frame).pha, expected[time])
        np.testing.assert_array_equal(whole[time], expected[time])


def test_a_call_may_bring_another_background_for_once(open_session):
    engine, black = engines.memory(with_plate=True), engines.grey(0)
    session = open_session(engine=engine, outputs=("alpha",), plate=black)
    alphas = []
    for background in (None, engines.grey(255), None):
        session.reset()
        alphas.append(float(session(engines.grey(51), background).alpha.mean()))
    np.testing.assert_allclose(alphas, [0.1, 0.6, 0.1], atol=1e-6)


def test_one_background_serves_all_streams(open_session):
    session = open_session(engine=engines.memory(2, with_plate=True), outputs=("alpha",), batch=4)
    alpha = session(np.stack([engines.grey(51 * slot) for slot in range(4)]), engines.grey(51)).alpha
    np.testing.assert_allclose(alpha.mean(axis=(1, 2, 3)), [0.1, 0.2, 0.3, 0.4], atol=1e-6)


def test_a_plate_must_fit(open_session):
    session = open_session(engine=engines.memory(with_plate=True))
    with pytest.raises(FrameError, match=r"needs the plate, the photographed empty scene: session\(frame, plate\)"):
        session(FRAME)
    with pytest.raises(FrameError, match="64x48 pixels and the frame 32x24: bring it"):
        session(FRAME, engines.noise(1, 64, 48))
    with pytest.raises(FrameError, match="plate holds float64"):
        session(FRAME, FRAME / 255)
    with pytest.raises(FrameError, match="plate is a str"):
        open_session(engine=engines.memory(with_plate=True), plate="red")
    with pytest.raises(SettingError, match="ask for 'composite'"):
        open_session(engine=engines.memory(with_plate=True), plate=FRAME, background="red")
    with pytest.warns(FutureWarning), pytest.raises(SettingError, match="ask for 'composite'"):
        open_session(engine=engines.memory(with_plate=True), backdrop="red")
    for colour in ("red", (255, 0, 0)):  # cannot be the plate by its old name
        with pytest.raises(SettingError, match="ask for 'composite'"):
            open_session(engine=engines.memory(with_plate=True), background=colour)
    session(FRAME, FRAME)


# ---------------------------------------------------------------------------------------------------------------------
# Other types, and the way to one that is read

OTHERS = {
    "uint16": FRAME.astype(np.uint16) << 8,
    "uint16, big-endian": (FRAME.astype(np.uint16) << 8).astype(">u2"),
    "int64": FRAME.astype(np.int64),
    "uint32": FRAME.astype(np.uint32),
    "float64": FRAME / 255,
    "float32, big-endian": (FRAME / 255).astype(">f4"),
    "bool": FRAME > 127,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_remedy_for_another_type_gives_the_same_picture(kind, open_session):
    """The message is code that can be pasted."""
    session = open_session(outputs="fgr")
    with pytest.raises(FrameError, match=r"expected uint8 \(0…255\), float16 or float32 \(0…1\): ") as raised:
        session(OTHERS[kind])
    code = str(raised.value).partition("(0…1): ")[2]
    found = re.findall(r"\(frame >> 8\)\.astype\(\"uint8\"\)|frame\.astype\(\"\w+\"\)(?: [*/] \d+)?", code)
    assert found, code
    if kind.startswith("uint16"):
        assert found == ['(frame >> 8).astype("uint8")', 'frame.astype("float32") / 65535']
    expected = np.where(FRAME > 127, 255, 0) if kind == "bool" else FRAME
    for remedy in found[: 2 if kind.startswith("uint16") else 1]:
        fgr = session(eval(remedy, {"frame": OTHERS[kind], "np": np})).fgr
        assert np.abs(fgr.astype(int) - expected).max() <= 1, remedy


def test_tensors_have_remedies_of_their_own(open_session):
    torch = pytest.importorskip("torch")
    session = open_session()
    with pytest.raises(FrameError, match=r"frame\.to\(torch\.float32\) / 65535, if"):
        session(torch.zeros((24, 32, 3), dtype=torch.uint16))
    with pytest.raises(FrameError, match=r"frame\.to\(torch\.float32\) if its values are 0…1"):
        session(torch.zeros((24, 32, 3), dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------------------------
# Lists

PAIR = [engines.noise(1), engines.noise(2)]

LISTS = {
    "arrays": lambda pair: pair,
    "a tuple": tuple,
    "images": lambda pair: [Image.fromarray(each) for each in pair],
    "tensors": lambda pair: [torch_of(each) for each in pair],
    "some of each": lambda pair: [pair[0], Image.fromarray(pair[1])],
    "channels first": lambda pair: [each.transpose(2, 0, 1) for each in pair],
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_list_of_pictures_is_a_batch(kind, color, open_session):
    session, plain = (open_session(batch=2, color=color) for _ in range(2))
    pair = [each[..., ::-1] for each in PAIR] if color == "bgr" and kind == "images" else PAIR
    if color == "bgr" and kind == "some of each":
        pair = [PAIR[0], PAIR[1][..., ::-1]]
    matte, expected = session(LISTS[kind](pair)), plain(np.stack(PAIR))
    assert type(matte.fgr).__name__ == ("Tensor" if kind == "tensors" else "ndarray")
    for ours, theirs in zip(matte, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
    assert list(session.stream([LISTS[kind](pair)] * 3))[2].pha.shape == (2, 24, 32, 1)


def test_plates_and_backgrounds_are_lists_too(open_session):
    options = {"engine": engines.memory(2, with_plate=True), "outputs": ("composite",)}
    session, plain = open_session(**options), open_session(**options)
    matte = session(PAIR, PAIR[::-1], background=[engines.noise(7), engines.noise(8)])
    expected = plain(np.stack(PAIR), np.stack(PAIR[::-1]), background=np.stack([engines.noise(7), engines.noise(8)]))
    np.testing.assert_array_equal(matte.composite, expected.composite)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([engines.noise(1), engines.noise(2, 64, 48)], r"a list of uint8 \(24, 32, 3\), uint8 \(48, 64, 3\).*stream"),
        ([engines.noise(1), engines.noise(1) / np.float32(255)], r"a list of uint8 .*, float32 "),
        ([engines.noise(1)] * 3, r"it has 3 picture\(s\) side by side .*batch=3"),
        ([], "frame is a list; expected an array"),
        ([[1, 2, 3]], "frame is a list; expected an array"),
        ([engines.noise(1), None], "frame is a list; expected an array"),
        ([np.zeros(3, np.uint8)] * 2, "expected"),
    ],
)
def test_lists_that_are_no_batch_are_refused(frames, message, open_session):
    session = open_session(batch=2)
    session(PAIR)
    before = session.state["memory"]
    with pytest.raises(FrameError, match=message):
        session(frames)
    np.testing.assert_array_equal(session.state["memory"], before)
