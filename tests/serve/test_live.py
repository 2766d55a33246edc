"""Live streams: each frame is answered with its own alpha, and each stream has its own states."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.runtime.session import engines
from tests.serve.live_client import FRAME, LiveClient, planes
from tests.serve.serving import Client, running, until
from trtmatte.media import colour
from trtmatte.media.frame_packets import PacketDecoder
from trtmatte.serve import live

exceptions = pytest.importorskip("websockets.exceptions")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running(streams=4) as found:
        yield found


def film(seed: int, count: int, width: int = 64, height: int = 48) -> list[Any]:
    """Smooth pictures, which codecs keep."""
    rng = np.random.default_rng(seed)
    return [np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(count)]


def closing(stream: LiveClient) -> tuple[int, str]:
    """The code and the reason with which the server closes."""
    try:
        while True:
            stream.socket.recv(30)
    except exceptions.ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


def own(frames: list[Any]) -> list[Any]:
    """The alphas of the tiny model's own session."""
    with engines.memory().session(backend="onnxruntime", outputs=("pha",)) as session:
        return [session(frame).pha[..., 0].copy() for frame in frames]


def decoded(stream: LiveClient, pixels: Any) -> Any:
    """A frame as the server sees it."""
    size = pixels.shape[1], pixels.shape[0]
    return PacketDecoder("i420")(stream.encoded(pixels), size, is_key=True, matrix=colour.SD, full_range=True)


@pytest.mark.parametrize("alpha", ["raw", "png"])
def test_each_frame_gets_its_own_alpha(client: Client, alpha: str) -> None:
    frames = [engines.noise(number, 64, 48) for number in range(6)]
    with LiveClient(client.port, codec="i420", alpha=alpha) as stream:
        assert stream.ready() == {"ready": True, "model": "tiny"}
        expected = own([decoded(stream, each) for each in frames])
        for number, frame in enumerate(frames):
            stream.send(number * 10, frame)
            answer = stream.answer()
            assert (answer.number, answer.dropped) == (number * 10, False)
            np.testing.assert_array_equal(answer.alpha, expected[number])
            assert answer.milliseconds > 0
            assert answer.foreground is None


@pytest.mark.parametrize("codec", ["jpeg", "vp8", "vp9", "h264", "i420"])
def test_codecs(client: Client, codec: str) -> None:
    frames = film(1, 8)
    with LiveClient(client.port, codec=codec) as stream:
        stream.ready()
        for number, (frame, alpha) in enumerate(zip(frames, own(frames), strict=True)):
            stream.send(number, frame, is_key=number == 0 or codec in ("jpeg", "i420"))
            assert np.abs(stream.answer().alpha.astype(int) - alpha).max() <= 6


def test_the_foreground(client: Client) -> None:
    frame = film(2, 1)[0]
    with LiveClient(client.port, foreground=True) as stream:
        stream.ready()
        stream.send(1, frame)
        answer = stream.answer()
        assert answer.foreground.shape == frame.shape
        assert np.abs(answer.foreground.astype(int) - frame).max() <= 12
        assert answer.alpha.shape == frame.shape[:2]


def test_streams_have_their_own_states(client: Client) -> None:
    """They join and leave in the middle of others, with frames of other sizes."""
    wrong: list[Any] = []

    def run(seed: int) -> None:
        for turn in range(3):
            frames = [engines.noise(seed * 100 + turn * 10 + number, 32 + 2 * seed, 24) for number in range(5)]
            with LiveClient(client.port) as stream:
                stream.ready()
                for number, alpha in enumerate(own([decoded(stream, each) for each in frames])):
                    stream.send(number, frames[number])
                    if not np.array_equal(stream.answer().alpha, alpha):
                        wrong.append((seed, turn, number))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_reset_begins_another_stream(client: Client) -> None:
    frames = [engines.noise(number, 64, 48) for number in range(3)]
    with LiveClient(client.port) as stream:
        stream.ready()
        alphas = []
        for number, frame in enumerate([*frames, *frames]):
            if number == len(frames):
                stream.socket.send(json.dumps({"reset": True}))
            stream.send(number, frame)
            alphas.append(stream.answer().alpha)
        for first, second in zip(alphas[:3], alphas[3:], strict=True):
            np.testing.assert_array_equal(first, second)
        assert not np.array_equal(alphas[0], alphas[1])


def test_a_camera_that_is_turned(client: Client) -> None:
    with LiveClient(client.port) as stream:
        stream.ready()
        for number, size in enumerate([(64, 48), (48, 64), (64, 48)]):
            frame = engines.noise(number, *size)
            stream.send(number, frame)
            np.testing.assert_array_equal(stream.answer().alpha, own([decoded(stream, frame)])[0])


def test_the_newest_frame_wins(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtmatte.runtime.session import Session

    real, go_on = Session.step, threading.Event()

    def slow(session: Any, *arguments: Any, **options: Any) -> Any:
        assert go_on.wait(60)
        return real(session, *arguments, **options)

    monkeypatch.setattr(Session, "step", slow)
    frames = [engines.noise(number, 64, 48) for number in range(6)]
    with LiveClient(client.port) as stream:
        stream.ready()
        for number, frame in enumerate(frames):
            stream.send(number, frame)
            time.sleep(0.1)
        go_on.set()
        answers = [stream.answer() for _ in frames]
        assert [each.number for each in answers] == list(range(6))
        assert [each.dropped for each in answers] == [False, True, True, True, True, False]
        first, last = own([decoded(stream, frames[number]) for number in (0, 5)])
        np.testing.assert_array_equal(answers[0].alpha, first)
        np.testing.assert_array_equal(answers[5].alpha, last)


def test_a_damaged_frame_asks_for_a_key_frame(client: Client) -> None:
    frames = film(3, 3)
    with LiveClient(client.port, codec="vp8") as stream:
        stream.ready()
        stream.send(0, frames[0])
        assert not stream.answer().dropped
        stream.socket.send(FRAME.pack(1, 0, 0, 1, 64, 48) + b"nonsense")
        assert stream.answer().dropped
        assert json.loads(stream.socket.recv(30)) == {"key": True}
        stream.send(2, frames[1], is_key=False)  # it needs the one that is lost
        assert stream.answer().dropped
        assert json.loads(stream.socket.recv(30)) == {"key": True}
        stream.encoder = None
        stream.send(3, frames[2])
        assert not stream.answer().dropped


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("nonsense", 1008, "a message is no object of JSON"),
        ("[1]", 1008, "a message is no object of JSON"),
        (b"binary", 1008, "the first message is binary; expected text, in JSON"),
        ('{"codec": "av9"}', 1008, "codec is 'av9'; expected vp8, vp9, h264, jpeg, i420"),
        ('{"alpha": "jpeg"}', 1008, "alpha is 'jpeg'; expected png or raw"),
        ('{"model": "nothing"}', 1008, "model is 'nothing'; expected tiny"),
        ('{"model": 7}', 1008, "model is no text; expected a model's name"),
    ],
)
def test_a_first_message_that_is_wrong(client: Client, message: Any, code: int, reason: str) -> None:
    with LiveClient(client.port, first=message) as stream:
        assert closing(stream) == (code, reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"short", "a frame has 5 bytes; expected a header of 16, then the frame"),
        (FRAME.pack(1, 1, 9, 0, 64, 48), "the matrix of a frame is 9; expected 0 or 1"),
        (FRAME.pack(1, 1, 0, 0, 64, 48), "the frame has 0 bytes; expected 4608, of I420 in 64x48"),
        (FRAME.pack(1, 1, 0, 0, 0, 48), "the frame is 0x48; expected"),
        (FRAME.pack(1, 1, 0, 0, 65535, 65535), "the frame is 65535x65535; expected"),
        ("nonsense", "a message is no object of JSON"),
    ],
)
def test_a_frame_that_is_wrong(client: Client, message: Any, reason: str) -> None:
    with LiveClient(client.port) as stream:
        stream.ready()
        stream.socket.send(message)
        code, told = closing(stream)
        assert code == 1008
        assert told.startswith(reason)


def test_slots(client: Client) -> None:
    streams = [LiveClient(client.port) for _ in range(4)]
    for each in streams:
        each.ready()
    code, reason = closing(LiveClient(client.port))
    assert (code, reason) == (1013, "4 streams are live, and no more may be; try again later")
    streams[1].close()
    until(lambda: client.server.site.live.count == 3)
    with LiveClient(client.port) as another:
        another.ready()
    for each in streams:
        each.close()
    until(lambda: client.server.site.live.count == 0)
    until(lambda: all(model.leases == 0 and model.streams == 0 for model in client.server.site.shelf.loaded))


def test_a_token() -> None:
    with running(token="open-sesame") as client:
        assert closing(LiveClient(client.port)) == (1008, "the token is missing or wrong")
        assert closing(LiveClient(client.port, token="wrong")) == (1008, "the token is missing or wrong")
        with LiveClient(client.port, token="open-sesame") as stream:
            assert stream.ready()["ready"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_pages_of_strangers(client: Client, headers: dict[str, str]) -> None:
    with pytest.raises(exceptions.InvalidStatus) as refused:
        LiveClient(client.port, headers=headers)
    assert refused.value.response.status_code == 403


def test_silence(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SILENCE", 0.2)
    monkeypatch.setattr(live, "_HELLO", 0.2)
    with LiveClient(client.port) as stream:
        stream.ready()
        assert closing(stream) == (1008, "no frame came in 0.2 seconds")


def test_streams_end_with_the_server() -> None:
    with running() as client:
        stream = LiveClient(client.port)
        stream.ready()
        stream.send(1, film(4, 1)[0])
        stream.answer()
        client.server.stop()
        assert closing(stream)[0] == 1012


def test_planes() -> None:
    """Odd sizes, and rows that are padded in memory."""
    for size in ((64, 48), (65, 47), (1, 1), (33, 2)):
        pixels = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
        stream = LiveClient.__new__(LiveClient)
        stream.codec = "i420"
        assert planes(pixels).width == size[0]
        assert np.abs(decoded(stream, pixels).astype(int) - pixels).max() <= 3
