"""Clients that die, dawdle, lie and flood: a clear status or a closed connection, and nothing that stays behind."""

from __future__ import annotations

import base64
import contextlib
import errno
import functools
import io
import random
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from tests.serve.live_client import FRAME, LiveClient
from tests.serve.serving import Client, encoded, expected, form, running, until
from trtmatte.serve import patience, protocol
from trtmatte.support import memory_use

PICTURE = engines.noise(3)
FILE = encoded(PICTURE)
exceptions = pytest.importorskip("websockets.exceptions")

MIB = 1 << 20


@pytest.fixture
def client() -> Iterator[Client]:
    with running(seconds=2.0, pixels=1 << 23, body_bytes=8 * MIB) as found:
        until(lambda: found.get("/readyz").status == 200)
        yield found
        until(lambda: is_clean(found))
        np.testing.assert_array_equal(found.remove(FILE).picture, expected(PICTURE))


def is_clean(client: Client) -> bool:
    """Report if nothing is left of what clients did."""
    site = client.server.site
    models = site.shelf.loaded
    held = [(len(each.pictures), each.leases, each.streams) for each in models]
    bodies, batches = site.pictures._budget._held, site.pictures._batches
    return not (any(map(any, held)) or bodies or batches or site.live.count or site.live._hellos)


def connections(client: Client) -> int:
    return len(client.server._server.server_state.connections)


@contextlib.contextmanager
def connected(client: Client, seconds: float = 30) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", client.port), seconds) as opened:
        yield opened


def head(
    length: int | None = None,
    kind: str = "multipart/form-data; boundary=a-boundary",
    path: str = "/api/remove",
    **headers: str,
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    lines += [f"Content-Length: {length}"] if length is not None else []
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


BATCH = head(None, "application/x-ndjson", "/api/batch", **{"Transfer-Encoding": "chunked"})
UPGRADE = b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def status_of(opened: socket.socket) -> int:
    """The status of an answer; 0 for a connection that was closed without one."""
    try:
        line = opened.makefile("rb").readline()
    except ConnectionResetError:
        return 0
    return int(line.split()[1]) if line else 0


def test_clients_that_die_while_they_send(client: Client) -> None:
    body, _ = form(encoded(engines.noise(1, 800, 600)))
    for number in range(30):
        with connected(client) as opened:
            opened.sendall(head(len(body)) + body[: len(body) * number // 30])
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
    until(lambda: connections(client) == 0)


def test_clients_that_die_before_their_answer(client: Client) -> None:
    body, _ = form(FILE)
    for _ in range(30):
        with connected(client) as opened:
            opened.sendall(head(len(body)) + body)
    until(lambda: connections(client) == 0)


def test_batches_that_are_left(client: Client) -> None:
    """In the middle of a line, or before the answers; those of others go on."""
    line = b'{"id": 1, "image": "' + base64.b64encode(FILE) + b'"}\n'
    for number in range(12):
        with connected(client) as opened:
            opened.sendall(BATCH + f"{len(line) * 20:x}\r\n".encode() + line * number + line[: 40 * number])
    until(lambda: is_clean(client))


def test_too_many_batches(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connected(client)) for _ in range(9)]
        for number, each in enumerate(opened):
            each.sendall(BATCH)
            until(lambda number=number: client.server.site.pictures._batches == min(number + 1, 8))
        assert status_of(opened[8]) == 429


def test_too_many_clients_that_say_nothing(client: Client) -> None:
    """They cannot keep others out for long: they have ten seconds."""
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(connected(client)).sendall(UPGRADE + KEY + b"\r\n")
        until(lambda: client.server.site.live._hellos == 32)
        with pytest.raises(exceptions.ConnectionClosed) as closed, LiveClient(client.port) as stream:
            stream.ready()
        assert closed.value.rcvd.code == 1013
    until(lambda: client.server.site.live._hellos == 0)


def test_a_body_that_does_not_come(client: Client) -> None:
    with connected(client) as opened:
        began = time.monotonic()
        opened.sendall(head(1000) + b"--a-boundary")
        assert status_of(opened) == 408
        assert 1.5 < time.monotonic() - began < 10


def test_a_body_that_comes_byte_by_byte(client: Client) -> None:
    body, _ = form(FILE)
    with connected(client) as opened:
        opened.sendall(head(len(body)))
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for each in body:
                opened.sendall(bytes([each]))
                time.sleep(0.1)
                if time.monotonic() - began > 2.5:
                    break
        assert status_of(opened) in (0, 408)


def test_a_request_that_is_not_sent(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing comes, and one whose lines do not end."""
    monkeypatch.setattr(protocol, "_REQUEST", 0.5)
    with connected(client) as silent, connected(client) as slow:
        until(lambda: connections(client) == 2)
        for _ in range(20):
            with contextlib.suppress(OSError):
                slow.sendall(b"GET / HTTP/1.1\r\nX: ")
            time.sleep(0.1)
        assert status_of(silent) == 0
        until(lambda: connections(client) == 0)


def test_a_second_request_that_is_not_sent(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_REQUEST", 0.5)
    with connected(client) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(opened) == 200
        time.sleep(0.2)  # the answer is complete
        opened.sendall(b"GET /hea")
        until(lambda: connections(client) == 0, 5)


def test_a_client_that_does_not_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_ANSWER", 0.5)
    body, _ = form(encoded(engines.noise(1, 1600, 1200)))
    with connected(client) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.sendall(head(len(body)) + body)
        until(lambda: connections(client) == 1)
        until(lambda: connections(client) == 0, 20)


def test_a_live_client_that_does_not_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_ANSWER", 0.5)
    frame = engines.noise(0, 640, 480)
    with LiveClient(client.port) as stream:
        stream.ready()
        stream.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(exceptions.ConnectionClosed):
            for number in range(5000):
                stream.send(number, frame)
            pytest.fail("the server goes on reading")
        until(lambda: client.server.site.live.count == 0, 20)
        stream.socket.socket.close()


@pytest.mark.alone
def test_a_flood_of_frames(client: Client) -> None:
    """The server reads no more than it can work on, and others get their turn."""
    frame = engines.noise(0, 640, 480)
    with LiveClient(client.port) as flood, LiveClient(client.port) as other:
        flood.ready(), other.ready()
        data = FRAME.pack(0, 1, 0, 1, 640, 480) + flood.encoded(frame)
        over = threading.Event()

        def send() -> None:
            with contextlib.suppress(Exception):
                while not over.is_set():
                    flood.socket.send(data)

        def read() -> None:
            with contextlib.suppress(Exception):
                while not over.is_set():
                    flood.socket.recv(5)

        threads = [threading.Thread(target=each) for each in (send, read)]
        for thread in threads:
            thread.start()
        other.send(0, frame)
        other.answer()
        before = memory_use.resident()
        latencies = []
        for number in range(1, 60):
            began = time.monotonic()
            other.send(number, frame)
            assert not other.answer().dropped
            latencies.append(time.monotonic() - began)
        over.set()
        assert float(np.median(latencies)) < 1
        assert memory_use.resident() - before < 256 * MIB
        flood.socket.socket.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(30)


def test_a_full_disk(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests need none: nothing of a picture is written."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    pixels = engines.noise(1, 1600, 1200)
    file = encoded(pixels)
    assert len(file) > 4 * MIB
    np.testing.assert_array_equal(client.remove(file).picture, expected(pixels))


def test_too_many_uploads(client: Client) -> None:
    """Their bodies together have a limit; who comes later is told to try again."""
    part = b'--a-boundary\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(7 * MIB)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connected(client)) for _ in range(12)]
        for each in opened:
            each.sendall(head(8 * MIB) + part)
        statuses = [status_of(each) for each in opened]
    assert statuses.count(429) >= 2
    assert set(statuses) == {408, 429}


# ---------------------------------------------------------------------------------------------------------------------
# Two hundred hostile requests


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"", *before: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@functools.cache
def bombs() -> list[bytes]:
    return list(made_bombs())


def made_bombs() -> Iterator[bytes]:
    zeros = zlib.compress(bytes(64 * MIB))
    yield png(60_000, 60_000)
    yield png(0xFFFFFFF, 1)
    yield png(64, 64, bytes(64 * MIB))
    yield png(64, 64, bytes(64 * 193), chunk(b"zTXt", b"a\0\0" + zeros))
    yield png(64, 64, bytes(64 * 193), chunk(b"iCCP", b"a\0\0" + zeros))
    for format in ("GIF", "TIFF", "JPEG"):
        file = io.BytesIO()
        Image.new("L", (4000, 4000)).save(file, format)
        yield file.getvalue()
    yield b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;"
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) run"
    yield b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield b"\0\0\1\xba" * 100


def hostile(seed: int) -> tuple[bytes, Callable[[int], bool]]:
    """A request, and the statuses that it may have."""
    rng = random.Random(seed)
    body, _ = form(FILE)
    names = [
        "/api/remove/../../etc/passwd",
        "//etc/passwd",
        "/page/..%2f..%2fsettings.py",
        "/%00",
        "/page/\\..\\a",
        "/" * 999,
    ]
    ways: list[tuple[bytes, Callable[[int], bool]]] = [
        *(
            (head(len(each)) + each, lambda status: status in (200, 413, 422))
            for each in (form(bomb)[0] for bomb in bombs())
        ),
        *((f"GET {name} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), lambda status: status == 403) for name in names),
        *(
            (f"GET {name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), lambda status: status in (400, 404))
            for name in names
        ),
        (head(10**15), lambda status: status == 413),
        (head(-1), lambda status: status == 400),
        (head(len(body) // 2) + body, lambda status: status in (400, 422)),
        (head(len(body) + 5) + body, lambda status: status in (200, 400, 408)),
        (head(5, **{"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n", lambda status: status == 400),
        (head(**{"Transfer-Encoding": "chunked"}) + b"fffffffffffffffff\r\n", lambda status: status in (400, 408)),
        (head(len(body), Origin="https://evil.example") + body, lambda status: status == 403),
        (head(len(body), Cookie="a=b\0c") + body, lambda status: status == 400),
        (head(len(body), kind="multipart/form-data") + body, lambda status: status == 400),
        (head(len(body), kind="multipart/form-data; boundary=" + "b" * 5000) + body, lambda status: status == 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", lambda status: status in (0, 400, 431)),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", lambda status: status in (0, 400, 414, 431)),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200) + b"\r\n\r\n",
            lambda status: status in (0, 400),
        ),
        (rng.randbytes(300) + b"\r\n\r\n", lambda status: status in (0, 400)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", lambda status: status in (0, 400, 403)),
    ]
    fields = b"".join(
        f'--a-boundary\r\nContent-Disposition: form-data; name="f{number}"\r\n\r\nx\r\n'.encode()
        for number in range(2000)
    )
    ways.append((head(len(fields)) + fields, lambda status: status == 400))
    large = (
        b'--a-boundary\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
        + b"m" * 100_000
        + b"\r\n--a-boundary--\r\n"
    )
    ways.append((head(len(large)) + large, lambda status: status == 400))
    ways.append((UPGRADE + b"\r\n", lambda status: status in (400, 426)))
    ways.append((UPGRADE + KEY + b"Origin: https://evil.example\r\n\r\n", lambda status: status == 403))
    ways.append((UPGRADE + KEY + b"\r\n" + rng.randbytes(500), lambda status: status == 101))
    damaged = bytearray(body)
    for _ in range(rng.randint(1, 200)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    ways.append((head(len(damaged)) + bytes(damaged), lambda status: status in (200, 400, 413, 415, 422)))
    return ways[seed % len(ways)]


@pytest.mark.alone
def test_hostile_requests(client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LINGER", 0.2)
    before, threads = memory_use.resident(), threading.active_count()
    for seed in range(200):
        sent, is_right = hostile(seed)
        with connected(client) as opened:
            with contextlib.suppress(ConnectionError):
                opened.sendall(sent)
            status = status_of(opened)
        assert is_right(status), (seed, sent[:200], status)
    np.testing.assert_array_equal(client.remove(FILE).picture, expected(PICTURE))
    until(lambda: connections(client) == 0)
    assert not [each for each in caplog.records if each.levelname == "ERROR"], caplog.text
    memory_use.give_back()
    assert memory_use.resident() - before < 100 * MIB
    assert threading.active_count() - threads <= 12  # those of pools
