"""A matte at a prompt, as pictures, and in other processes."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from trtmatte import Matte
from trtmatte.errors import FrameError

FRAME = engines.noise(1)


@pytest.fixture
def matte(open_session):
    return open_session()(FRAME)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def test_pictures_are_shown_by_their_sizes(matte):
    assert repr(matte.pil()) == "Matte(fgr: RGB 32x24, pha: L 32x24)"
    assert matte.pil().pil().pha.size == (32, 24)


def test_a_batch_is_a_list_of_pictures(open_session):
    frames = [engines.noise(seed) for seed in range(3)]
    pictures = open_session(batch=3, outputs=("fgr", "pha", "alpha"))(np.stack(frames)).pil()
    assert repr(pictures).startswith("Matte(fgr: [RGB 32x24, RGB 32x24, …], pha: [L 32x24, ")
    assert [len(each) for each in pictures] == [3, 3, 3]
    for frame, picture in zip(frames, pictures.fgr, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), frame)
    copied = copy.deepcopy(pictures)
    assert copied.fgr[0] is not pictures.fgr[0]
    assert copied.fgr[0].tobytes() == pictures.fgr[0].tobytes()


def test_a_chunk_is_a_list_of_lists_but_for_single_streams(open_session):
    chunk = np.stack([[engines.noise(4 * stream + time) for time in range(4)] for stream in range(2)])
    pictures = open_session(batch=2)(chunk).pil().fgr
    assert [[each.size for each in stream] for stream in pictures] == [[(32, 24)] * 4] * 2
    np.testing.assert_array_equal(np.asarray(pictures[1][2]), chunk[1, 2])
    assert len(open_session()(chunk[:1]).pil().fgr) == 4
    assert open_session()(chunk[:1, :1]).pil().fgr.size == (32, 24)


def test_what_is_no_picture_is_named():
    with pytest.raises(FrameError, match=r"hid is \(4, 4\); expected pictures"):
        Matte({"hid": np.zeros((4, 4), np.float32)}).pil()
    with pytest.raises(FrameError, match="hid has 32 channels; an image has 1, 3, 4"):
        Matte({"hid": np.zeros((1, 32, 4, 5), np.float32)}).pil()


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_pil_reads_an_alpha_as_it_is(layout, open_session):
    pha = open_session(layout=layout)(FRAME).pha
    assert pha.shape == ((24, 32, 1) if layout == "HWC" else (1, 24, 32))
    picture = Image.fromarray(pha)
    assert (picture.mode, picture.size) == ("L", (32, 24))
    np.testing.assert_array_equal(np.asarray(picture), pha.reshape(24, 32))
    window = pha[2:20, ::2] if layout == "HWC" else pha[:, 2:20, ::2]
    np.testing.assert_array_equal(np.asarray(Image.fromarray(window)), window.squeeze())


def test_for_all_others_an_alpha_is_an_array_with_a_channel(open_session):
    session = open_session(dtype="float32")
    fgr, pha = session(FRAME)
    assert isinstance(pha, np.ndarray)
    assert (fgr * pha + (1 - pha) * np.ones(3, np.float32)).shape == (24, 32, 3)
    for other in (np.asarray(pha), np.array(pha), np.from_dlpack(pha), np.asarray(memoryview(pha)), np.frombuffer(pha)):
        assert type(other) is np.ndarray
        assert other.shape in ((24, 32, 1), (24 * 32 // 2,))
    torch = pytest.importorskip("torch")
    for tensor in (torch.from_numpy(pha), torch.as_tensor(pha), torch.from_dlpack(pha)):
        assert tensor.shape == (24, 32, 1)
        assert tensor.data_ptr() == pha.ctypes.data


# ---------------------------------------------------------------------------------------------------------------------
# Copies


COPIES = {
    "pickle": lambda matte: pickle.loads(pickle.dumps(matte)),
    "the oldest pickle": lambda matte: pickle.loads(pickle.dumps(matte, 0)),
    "deepcopy": copy.deepcopy,
    "its own": lambda matte: matte.copy(),
}


@pytest.mark.parametrize("copier", COPIES)
def test_copies_are_of_their_own(copier, matte):
    other = COPIES[copier](matte)
    assert repr(other) == repr(matte)
    for ours, theirs in zip(other, matte, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.shares_memory(ours, theirs)
    assert Image.fromarray(other.pha).size == (32, 24)
    assert other.pil().fgr.tobytes() == matte.pil().fgr.tobytes()


def test_a_shallow_copy_has_the_same_arrays(matte):
    assert all(ours is theirs for ours, theirs in zip(copy.copy(matte), matte, strict=True))


@pytest.mark.parametrize("copier", COPIES)
def test_so_are_copies_of_tensors_and_pictures(copier, open_session):
    torch = pytest.importorskip("torch")
    matte = open_session(color="bgr", layout="CHW")(torch.from_numpy(FRAME))
    other = COPIES[copier](matte)
    assert torch.equal(other.pha, matte.pha)
    assert other.pha.data_ptr() != matte.pha.data_ptr()
    pictures = COPIES[copier](matte.pil())
    assert pictures.fgr.tobytes() == other.pil().fgr.tobytes()


def test_an_alpha_is_unpickled_without_trtmatte(matte, tmp_path):
    (tmp_path / "pha.pickle").write_bytes(pickle.dumps(matte.pha))
    code = (
        "import sys, pickle; sys.modules['trtmatte'] = None\n"
        f"print(pickle.load(open({str(tmp_path / 'pha.pickle')!r}, 'rb')).sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == matte.pha.sum()


def test_an_empty_matte_asks_itself_nothing():
    """As copy and pickle make one before it has values."""
    bare = Matte.__new__(Matte)
    for name in ("__setstate__", "_values", "_anything"):
        assert not hasattr(bare, name)


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks


def shown(matte):
    return np.asarray(Image.open(io.BytesIO(matte._repr_png_())).convert("RGB")).astype(int)


def arrays(**values):
    return Matte({name: np.asarray(value, np.uint8) for name, value in values.items()})


def test_a_matte_is_shown_over_a_checkerboard():
    fgr, pha = np.full((48, 48, 3), (255, 0, 0)), np.zeros((48, 48, 1))
    pha[:, 24:] = 255
    for matte in (arrays(fgr=fgr, pha=pha), arrays(rgba=np.concatenate([fgr, pha], axis=-1))):
        picture = shown(matte)
        assert (picture[:, 24:] == (255, 0, 0)).all()
        assert [tuple(picture[y, x]) for y, x in ((3, 3), (3, 15), (15, 3))] == [(255,) * 3, (204,) * 3, (204,) * 3]


def test_a_composite_or_an_alpha_is_shown_as_it_is():
    assert (shown(arrays(pha=np.full((8, 9, 1), 7))) == 7).all()
    assert (shown(arrays(composite=np.full((8, 9, 3), 9), pha=np.full((8, 9, 1), 7))) == 9).all()


def test_what_is_shown_is_small_and_the_first_of_many(open_session):
    assert shown(arrays(pha=np.zeros((100, 2000, 1)))).shape == (24, 480, 3)
    chunk = np.stack([[engines.noise(seed) for seed in range(3)]] * 2)
    assert shown(open_session(batch=2)(chunk)).shape == (24, 32, 3)
    assert shown(open_session()(FRAME).pil()).shape == (24, 32, 3)


def test_where_nothing_can_be_shown_the_text_is(monkeypatch):
    assert Matte({"hid": np.zeros((1, 32, 4, 5), np.float32)})._repr_png_() is None
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert arrays(pha=np.zeros((8, 9, 1)))._repr_png_() is None
