"""Results are the caller's: no call changes an earlier one, and what was dropped is used again."""

from __future__ import annotations

import collections
import ctypes
import gc
import threading
import weakref

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.errors import FrameError
from trtmatte.runtime.session.memory import HostMemory
from trtmatte.runtime.session.pool import KEPT, Pool
from trtmatte.runtime.session.ring import Shapes

FRAMES = [engines.noise(seed) for seed in range(12)]


def copies(session, frames):
    return [session(frame).copy() for frame in frames]


def assert_equal(mattes, expected):
    for ours, theirs in zip(mattes, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


OPTIONS = {
    "mattes": {},
    "small outputs": {"outputs": ("pha", "alpha", "ones")},
    "composite": {"outputs": ("composite", "rgba"), "background": "blur"},
    "floats": {"dtype": "float32", "layout": "CHW"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_list_of_results_holds_the_right_pictures(options, open_session):
    plain, session = (open_session(**OPTIONS[options]) for _ in range(2))
    assert_equal([session(frame) for frame in FRAMES], copies(plain, FRAMES))


def test_so_does_a_list_of_a_stream(open_session):
    plain, session = open_session(), open_session()
    assert_equal(list(session.stream(FRAMES)), copies(plain, FRAMES))


@pytest.mark.parametrize("kind", ["batches", "chunks"])
def test_so_do_batches_and_chunks(kind, open_session):
    plain, session = (open_session(batch=2) for _ in range(2))
    frames = [np.stack([engines.noise(2 * seed), engines.noise(2 * seed + 1)]) for seed in range(6)]
    if kind == "chunks":
        frames = [np.stack([frame, frame[::-1]], axis=1) for frame in frames]
    assert_equal([session(frame) for frame in frames], copies(plain, frames))


def test_so_do_frames_of_torch(open_session):
    torch = pytest.importorskip("torch")
    plain, session = open_session(), open_session()
    mattes = [session(torch.from_numpy(frame)) for frame in FRAMES]
    assert all(isinstance(each.pha, torch.Tensor) for each in mattes)
    assert_equal(mattes, copies(plain, FRAMES))


def test_so_do_frames_of_several_sizes(open_session):
    sizes = [(32, 24), (64, 48), (32, 24), (40, 30)] * 3
    frames = [engines.noise(seed, *size) for seed, size in enumerate(sizes)]
    plain, session = open_session(), open_session()
    mattes = list(session.stream(frames))
    assert [matte.pha.shape[1::-1] for matte in mattes] == sizes
    assert_equal(mattes, copies(plain, frames))


def of_torch(array):
    return pytest.importorskip("torch").from_numpy(array)


KEEPERS = {
    "the array": lambda pha: pha,
    "a view": lambda pha: pha[3:, ::2],
    "a view of a view": lambda pha: pha.reshape(-1)[5:][::-1].T,
    "its base": lambda pha: pha[1:].base,
    "another type": lambda pha: pha.view("int8"),
    "strides": lambda pha: np.lib.stride_tricks.as_strided(pha, (4,), (7,)),
    "a memoryview": lambda pha: memoryview(pha)[2:],
    "ctypes": lambda pha: ctypes.cast(pha.ctypes.data_as(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint8 * 768)),
    "a buffer": lambda pha: np.frombuffer(pha, np.uint8),
    "DLPack": lambda pha: np.from_dlpack(pha),
    "a tensor": lambda pha: of_torch(pha),
    "a view of a tensor": lambda pha: of_torch(pha)[4:].flatten(),
    "an array of a tensor": lambda pha: of_torch(pha).numpy()[2:],
    "a tensor by DLPack": lambda pha: pytest.importorskip("torch").from_dlpack(pha),
}


def values(kept):
    return np.asarray(kept.contents if hasattr(kept, "contents") else kept).copy()


@pytest.mark.parametrize("keeper", KEEPERS)
def test_whatever_reads_a_result_keeps_it(keeper, open_session):
    session = open_session()
    kept = []
    for frame in FRAMES:
        part = KEEPERS[keeper](session(frame).pha)
        kept.append((part, values(part)))
        del part
    gc.collect()
    for part, expected in kept:
        np.testing.assert_array_equal(values(part), expected)
    if hasattr(kept[0][0], "base") and keeper == "its base":
        return  # held by the array that it is the base of
    before = session.stats().allocations
    kept.clear()
    part = expected = None
    gc.collect()
    for frame in FRAMES:
        session(frame)
    assert session.stats().allocations == before, "they have come back"


def test_a_capsule_keeps_a_result(open_session):
    session = open_session()
    capsules = [session(frame).pha.__dlpack__() for frame in FRAMES[:6]]
    expected = [matte.pha for matte in copies(open_session(), FRAMES[:6])]

    class Exported:
        def __init__(self, capsule):
            self.capsule = capsule

        def __dlpack__(self, **options):
            return self.capsule

        def __dlpack_device__(self):
            return (1, 0)

    for capsule, pha in zip(capsules, expected, strict=True):
        np.testing.assert_array_equal(np.from_dlpack(Exported(capsule)), pha)


def addresses(session, count, window):
    """Where the results of so many calls are. `window` gets the mattes."""
    found = []
    for index in range(count):
        matte = session(FRAMES[index % len(FRAMES)])
        found.append(matte.pha.ctypes.data)
        window.append(matte)
    return found


def test_who_drops_results_meets_few_addresses(open_session):
    session = open_session()
    assert len(set(addresses(session, 50, collections.deque(maxlen=0)))) == KEPT
    assert session.stats().allocations == 0


def test_who_keeps_the_last_ones_allocates_only_them(open_session):
    session, window = open_session(), collections.deque(maxlen=10)
    assert len(set(addresses(session, 100, window))) == 10 + 1, "the one being written is one more"
    assert session.stats().allocations == 2 * (10 + 1 - KEPT)


def test_one_output_may_be_kept_and_the_others_dropped(open_session):
    session = open_session()
    kept = [session(frame).pha for frame in FRAMES]
    assert session.stats().allocations == len(kept) - KEPT


def test_what_a_burst_leaves_is_given_back(open_session):
    session = open_session()
    burst = [session(FRAMES[seed % 12]) for seed in range(60)]
    alive = [weakref.ref(matte.pha.base.base.owner) for matte in burst]
    assert all(each() is not None for each in alive)
    burst.clear()
    assert sum(each() is not None for each in alive) == KEPT


def test_results_outlive_the_session(open_session):
    session = open_session()
    expected = copies(open_session(), FRAMES[:5])
    mattes = [session(frame) for frame in FRAMES[:5]]
    alive = [weakref.ref(matte.fgr.base.owner) for matte in mattes]
    session.close()
    assert_equal(mattes, expected)
    mattes.clear()
    assert not [each for each in alive if each() is not None]


def test_a_call_that_fails_keeps_nothing(open_session):
    session = open_session()
    session(FRAMES[0])
    for _ in range(10):
        with pytest.raises(FrameError):
            session(np.full((24, 32, 3), np.nan, np.float32))
    session(FRAMES[1])
    assert session.stats().allocations == 0


def test_a_result_of_before_may_be_the_next_frame(open_session):
    session = open_session(outputs="fgr")
    frame = FRAMES[0]
    for _ in range(8):
        frame = session(frame).fgr
        np.testing.assert_array_equal(frame, FRAMES[0])


def test_other_threads_may_drop_results(open_session):
    session, plain = open_session(), open_session()
    kept, wrong = collections.deque(), []
    done = threading.Event()

    def drop():
        while not done.is_set() or kept:
            try:
                matte, expected = kept.popleft()
            except IndexError:
                continue
            if not np.array_equal(matte.pha, expected.pha):
                wrong.append(expected)

    thread = threading.Thread(target=drop)
    thread.start()
    for index in range(300):
        frame = FRAMES[index % len(FRAMES)]
        kept.append((session(frame), plain(frame).copy()))
    done.set()
    thread.join()
    assert not wrong


def test_a_caller_s_changes_stay_with_the_result(open_session):
    """The next result in the same memory can be written, and has the shape of a result."""
    session = open_session()
    for frame in FRAMES:
        matte = session(frame)
        assert matte.fgr.flags.writeable
        assert matte.fgr.shape == (24, 32, 3)
        matte.fgr.flags.writeable = False
        matte.fgr.shape = (24, 96)


def test_nothing_of_a_pool_waits_for_the_collector():
    shapes = Shapes({"pha": (24, 32, 1)}, {"pha": "uint8"}, (), False, False)
    gc.collect()
    gc.disable()
    try:
        pool = Pool(shapes, 2, HostMemory())
        alive = [weakref.ref(array) for array in pool._free["pha"]]
        one, other = pool.take(), pool.take()
        del pool
        assert [each() is not None for each in alive] == [True, True]
        del one
        assert [each() is not None for each in alive] == [False, True]
        del other
        assert not any(each() is not None for each in alive)
    finally:
        gc.enable()
