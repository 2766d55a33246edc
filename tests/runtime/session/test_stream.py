"""Frames read ahead on a thread of their own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from trtmatte.support.read_ahead import ReadAhead


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "trtmatte-reading"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not reading_threads()


def test_a_stream_is_its_frames_in_turn(open_session):
    frames = [engines.noise(seed) for seed in range(20)]
    plain, session = open_session(), open_session()
    count = 0
    for frame, matte in zip(frames, session.stream(iter(frames)), strict=True):
        np.testing.assert_array_equal(matte.pha, plain(frame).pha)
        count += 1
    assert count == 20 == session.stats().frames


def test_each_frame_may_have_its_own_pictures(open_session):
    engine = engines.memory(with_plate=True)
    plain, session = (open_session(engine=engine, outputs=("composite",)) for _ in range(2))
    frames, plates, backgrounds = ([engines.noise(seed + start) for seed in range(5)] for start in (0, 10, 20))
    stream = session.stream(frames, plates=plates, backgrounds=iter(backgrounds))
    for frame, plate, background, matte in zip(frames, plates, backgrounds, stream, strict=True):
        np.testing.assert_array_equal(matte.composite, plain(frame, plate, background=background).composite)


def test_the_old_words_of_a_stream_work_with_a_notice(open_session):
    engine = engines.memory(with_plate=True)
    frames, plates, backgrounds = ([engines.noise(seed + start) for seed in range(3)] for start in (0, 10, 20))
    plain, session = (open_session(engine=engine, outputs=("composite",)) for _ in range(2))
    expected = [
        plain(frame, plate, background=background).composite.copy()
        for frame, plate, background in zip(frames, plates, backgrounds, strict=True)
    ]
    with pytest.warns(FutureWarning, match="backdrop is now called background"):
        mattes = [m.composite.copy() for m in session.stream(frames, backgrounds=plates, backdrops=backgrounds)]
    np.testing.assert_array_equal(mattes, expected)
    plain, session = (open_session(engine=engine, outputs=("pha",)) for _ in range(2))
    expected = [plain(frame, plate).pha.copy() for frame, plate in zip(frames, plates, strict=True)]
    with pytest.warns(FutureWarning, match="is now called plate"):
        mattes = [m.pha.copy() for m in session.stream(frames, backgrounds=plates)]
    np.testing.assert_array_equal(mattes, expected)


def test_what_the_reader_raises_comes_in_its_place(open_session):
    def frames():
        yield engines.noise(1)
        yield engines.noise(2)
        raise OSError("the camera was pulled out")

    session = open_session()
    stream = session.stream(frames())
    next(stream), next(stream)
    with pytest.raises(OSError, match="pulled out"):
        next(stream)
    assert session.stats().frames == 2
    assert list(session.stream([engines.noise(3)]))


def test_what_the_session_raises_ends_the_stream(open_session):
    frames = [engines.noise(1), engines.noise(2) / 255, engines.noise(3)]
    stream = open_session().stream(frames)
    next(stream)
    with pytest.raises(ValueError, match="float64"):
        next(stream)
    assert list(stream) == []


def test_an_abandoned_stream_stops_reading(open_session):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield engines.noise(1)

    stream = open_session().stream(endless())
    for _ in range(3):
        next(stream)
    stream.close()
    count = len(read)
    assert 3 <= count <= 3 + 3
    time.sleep(0.05)
    assert len(read) == count


def test_nothing_is_read_before_it_is_asked_for(open_session):
    def never():
        raise AssertionError("read")
        yield

    open_session().stream(never())
    assert not reading_threads()


def test_images_are_decoded_on_the_reading_thread(open_session, tmp_path, monkeypatch):
    for index in range(3):
        Image.fromarray(engines.noise(index)).save(tmp_path / f"{index}.png")
    threads = set()
    load = Image.Image.load

    def watched(image):
        threads.add(threading.current_thread().name)
        return load(image)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: threads.add(threading.current_thread().name))
    images = [Image.open(tmp_path / f"{index}.png") for index in range(3)]
    ahead = ReadAhead(images, 2)
    ahead.close()
    from trtmatte.runtime.session.session import _decoded

    assert _decoded(images[0], None) == (images[0], None)
    assert threads == {threading.current_thread().name}


def test_reading_overlaps_with_the_work():
    """While the consumer works on one item, the next are read; never more than `depth` of them."""
    ready = [threading.Event() for _ in range(6)]

    def items():
        for index, event in enumerate(ready):
            event.set()
            yield index

    ahead = ReadAhead(items(), 2)
    assert next(ahead) == 0
    assert ready[2].wait(5)
    time.sleep(0.02)
    assert not ready[4].is_set()
    assert list(ahead) == [1, 2, 3, 4, 5]
    assert next(ahead, "ended") == "ended"
    ahead.close()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_order_is_kept(depth):
    ahead = ReadAhead(range(500), depth)
    assert list(ahead) == list(range(500))
    ahead.close()


def test_what_waits_may_be_heavy():
    """No further item is begun while those that wait weigh too much; a single one may weigh more than all may."""
    begun = []

    def items():
        for weight in (3, 3, 9, 1, 1):
            begun.append(weight)
            yield weight

    ahead = ReadAhead(items(), 4, weigh=int, most=5)
    for _ in range(100):
        if begun == [3, 3]:
            break
        time.sleep(0.02)
    time.sleep(0.02)
    assert begun == ahead.waiting() == [3, 3]
    assert list(ahead) == [3, 3, 9, 1, 1]
    assert ahead.waiting() == []
    ahead.close()
