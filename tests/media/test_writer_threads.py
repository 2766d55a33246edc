"""Pictures that wait to be written are bounded by their bytes."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from trtmatte.media import writer_threads
from trtmatte.media.writer_threads import PictureWriters


def test_large_pictures_wait_for_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_threads, "_MOST_BYTES", 10)
    may, written = threading.Event(), []

    def write(name: int) -> None:
        assert may.wait(20)
        written.append(name)

    with PictureWriters() as writers:
        writers.submit(lambda: write(0), 50)  # alone, it may be of any size
        later = threading.Thread(target=lambda: writers.submit(lambda: write(1), 1))
        later.start()
        later.join(0.1)
        assert later.is_alive()
        may.set()
        later.join(20)
        for name in range(2, 12):
            writers.submit(partial(write, name), 1)
    assert sorted(written) == list(range(12))


def test_small_pictures_do_not_wait() -> None:
    may = threading.Event()
    with PictureWriters() as writers:
        for _ in range(2 * writers._threads):
            writers.submit(lambda: may.wait(20), 1 << 20)
        may.set()


def test_an_error_of_an_earlier_one_is_raised() -> None:
    def fail() -> None:
        raise OSError("full")

    def write_all() -> None:
        with PictureWriters() as writers:
            for _ in range(100):
                writers.submit(fail, 1)

    with pytest.raises(OSError, match="full"):
        write_all()
