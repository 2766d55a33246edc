"""Pictures that many ask for at once."""

from __future__ import annotations

import io
import threading
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.apps.matting import Matting
from trtmatte.apps.picture_queue import Groups, Job, PictureQueue, Wanted
from trtmatte.errors import FullError, InputError, OutputError, SettingError
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.still import Encoded, Still
from trtmatte.support.limits import Limits

SIZES = [(32, 24), (31, 45), (32, 24), (64, 20), (32, 24), (31, 45), (32, 24), (32, 24)]


def encoded(pixels: Any) -> Encoded:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return Encoded(file.getvalue())


def decoded(answer: Future[bytes]) -> Any:
    with Image.open(io.BytesIO(answer.result(60))) as image:
        return np.asarray(image)


def expected(pixels: Any) -> Any:
    with engines.memory().session(backend="onnxruntime", outputs=("pha",)) as session:
        return session(pixels).pha[..., 0].copy()


def queue_of(matting: Any, batch: int = 1, several: Any = None, **options: Any) -> PictureQueue:
    return PictureQueue(lambda wanted: (matting, several), batch=batch, **options)


ALPHA = Wanted("alpha")


class Held:
    """A matting that waits for leave, and notes the sizes of its batches."""

    def __init__(self, streams: int = 1) -> None:
        more = {"batch": streams} if streams > 1 else {}
        self._real = Matting(engines.memory(streams), ["alpha"], backend="onnxruntime", **more)
        self.shape = self._real.shape
        self.begun, self.leave = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def together(self, pictures: Any, behind: Any) -> Any:
        self.batches.append(len(pictures))
        self.begun.set()
        assert self.leave.wait(60)
        return self._real.together(pictures, behind)


def job(number: int) -> Job:
    size = SIZES[number]
    return Job(Encoded(b"", str(number)), ALPHA, Future(), Still(np.empty((size[1], size[0], 3), np.uint8)))


def test_pictures_of_one_key_are_a_group() -> None:
    groups = Groups(3, key=lambda each: each.size[0] // each.size[1])
    for number in range(4):
        groups.add(job(number))
        assert not groups.full()
    groups.add(job(4))
    assert [each.file.name for each in groups.full()] == ["0", "2", "4"]
    assert not groups.full()
    groups.add(job(6))
    assert len(groups) == 3
    assert [[each.file.name for each in groups.oldest()] for _ in range(3)] == [["1"], ["3"], ["6"]]
    assert len(groups) == 0


@pytest.mark.parametrize("streams", [1, 3])
def test_many_threads(streams: int) -> None:
    held = Held(streams)
    held.leave.set()
    queue = queue_of(held) if streams == 1 else queue_of(None, streams, held)
    wrong: list[Any] = []

    def ask(seed: int) -> None:
        for number in range(8):
            pixels = engines.noise(seed * 10 + number, 20 + seed, 24)
            if not np.array_equal(decoded(queue.submit(encoded(pixels), ALPHA)), expected(pixels)):
                wrong.append((seed, number))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.finish()
    assert not wrong
    assert len(queue) == 0
    assert queue.seconds > 0


def test_room() -> None:
    held = Held()
    queue = queue_of(held, room=3)
    answers = [queue.submit(encoded(engines.noise(number)), ALPHA) for number in range(3)]
    with pytest.raises(FullError, match="3 pictures wait, and 3 may; try again later"):
        queue.submit(encoded(engines.noise(0)), ALPHA)
    held.leave.set()
    wait(answers, 60)
    queue.submit(encoded(engines.noise(0)), ALPHA).result(60)
    queue.finish()
    with pytest.raises(SettingError, match="the queue is closed"):
        queue.submit(encoded(engines.noise(0)), ALPHA)


def test_few_pictures_are_decoded_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    held, read = Held(), []
    real = still.read
    monkeypatch.setattr(still, "read", lambda *given: read.append(1) or real(*given))
    queue = queue_of(held, room=100)
    answers = [queue.submit(encoded(engines.noise(number)), ALPHA) for number in range(50)]
    assert held.begun.wait(30)
    assert len(read) <= 1 + 3  # one at work
    held.leave.set()
    wait(answers, 60)
    assert len(read) == 50
    queue.finish()


def test_what_is_cancelled_costs_nothing() -> None:
    held = Held()
    queue = queue_of(held)
    first = queue.submit(encoded(engines.noise(0)), ALPHA)
    assert held.begun.wait(30)
    others = [queue.submit(encoded(engines.noise(number)), ALPHA) for number in range(10)]
    assert not first.cancel()
    assert all(each.cancel() for each in others)
    assert len(queue) == 1
    held.leave.set()
    first.result(60)
    queue.finish()
    assert held.batches == [1]


def test_drop() -> None:
    held = Held()
    queue = queue_of(held)
    first = queue.submit(encoded(engines.noise(0)), ALPHA)
    assert held.begun.wait(30)
    others = [queue.submit(encoded(engines.noise(number)), ALPHA) for number in range(4)]
    threading.Timer(0.1, held.leave.set).start()
    queue.drop()
    assert first.result(0)
    for each in others:
        with pytest.raises(CancelledError):
            each.result(0)


@pytest.mark.parametrize(
    ("file", "wanted", "kind", "error"),
    [
        (Encoded(b"nothing"), ALPHA, InputError, "it is no picture"),
        (Encoded(b""), ALPHA, InputError, "it is empty"),
        (encoded(engines.noise(0, 100, 99)), ALPHA, InputError, "it is 100x99; expected 9000 pixels at most"),
        (encoded(np.zeros((17_000, 1, 3), np.uint8)), Wanted("alpha", format="webp"), InputError, "pixels at most"),
    ],
)
def test_what_cannot_be_read_fails_alone(file: Encoded, wanted: Wanted, kind: Any, error: str) -> None:
    held = Held()
    held.leave.set()
    queue = queue_of(held, limits=Limits(pixels=9000))
    good = queue.submit(encoded(engines.noise(1)), ALPHA)
    with pytest.raises(kind, match=error):
        queue.submit(file, wanted).result(60)
    assert good.result(60)
    queue.finish()


def test_what_cannot_be_written_fails_alone() -> None:
    held = Held()
    held.leave.set()
    queue = queue_of(held)
    with pytest.raises(OutputError, match="cannot be written"):
        queue.submit(encoded(np.zeros((17_000, 1, 3), np.uint8)), Wanted("alpha", format="webp")).result(60)
    assert queue.submit(encoded(engines.noise(1)), ALPHA).result(60)
    queue.finish()


def test_defects_leave_nobody_waiting() -> None:
    def broken(wanted: Wanted) -> Any:
        raise ZeroDivisionError

    queue = PictureQueue(broken)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            queue.submit(encoded(engines.noise(1)), ALPHA).result(60)
    queue.finish()


def test_backgrounds_and_kinds_do_not_share_a_batch() -> None:
    mattings = {
        kind: Matting(engines.memory(4), [kind], backend="onnxruntime", batch=4) for kind in ("alpha", "composite")
    }
    queue = PictureQueue(lambda wanted: (None, mattings[wanted.kind]), batch=4)
    red, blue = (Wanted("composite", behind=FrameBackground(name)) for name in ("255,0,0", "0,0,255"))
    pictures = [engines.noise(number) for number in range(12)]
    wanted = [(ALPHA, red, blue)[number % 3] for number in range(12)]
    answers = [queue.submit(encoded(each), kind) for each, kind in zip(pictures, wanted, strict=True)]
    for pixels, kind, answer in zip(pictures, wanted, answers, strict=True):
        if kind is ALPHA:
            np.testing.assert_array_equal(decoded(answer), expected(pixels))
            continue
        options = {"outputs": ("composite",), "background": kind.behind.fixed, "backend": "onnxruntime"}
        with engines.memory().session(**options) as session:
            np.testing.assert_array_equal(decoded(answer), session(pixels).composite)
    queue.finish()
