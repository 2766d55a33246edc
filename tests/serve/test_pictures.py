"""Pictures over HTTP: what is asked for, in rembg's words, and what comes back."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.session import engines
from tests.serve.serving import Client, encoded, expected, form, running, tiny, until
from trtmatte.format.op_forms import LARGEST_SIDE

PICTURE = engines.noise(3)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running() as found:
        yield found


def test_a_cut_out(client: Client) -> None:
    answer = client.remove(encoded(PICTURE))
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(answer.picture, expected(PICTURE))


@pytest.mark.parametrize("in_address", [False, True])
@pytest.mark.parametrize(
    ("fields", "output", "options"),
    [
        ({"om": "true"}, "pha", {}),
        ({"om": "false", "a": "true", "af": 240, "ab": 10, "ae": 10, "extras": "{}"}, "rgba", {}),
        ({"bgc": "10,20,30,255"}, "composite", {"background": (10, 20, 30)}),
        ({"bgc": "10,20,30,0"}, "rgba", {}),
        ({"background": "navy"}, "composite", {"background": "navy"}),
        ({"background": "#12ef34"}, "composite", {"background": "#12ef34"}),
        ({"background": "blur:5"}, "composite", {"background": "blur:5"}),
        ({"model": "tiny", "format": "webp", "quality": 100}, "rgba", {}),
        ({"format": "jpeg", "background": "red"}, "composite", {"background": "red"}),
    ],
)
def test_fields(client: Client, fields: dict[str, Any], output: str, options: Any, in_address: bool) -> None:
    if in_address:
        query = "?" + "&".join(f"{name}={str(each).replace('#', '%23')}" for name, each in fields.items())
        answer = client.remove(encoded(PICTURE), query)
    else:
        answer = client.remove(encoded(PICTURE), **fields)
    difference = np.abs(answer.picture.astype(int) - expected(PICTURE, output, **options))
    assert difference.max() <= (40 if fields.get("format") == "jpeg" else 0)
    assert answer.headers["content-type"] == f"image/{fields.get('format', 'png')}"


def test_a_mask_without_grey(client: Client) -> None:
    assert set(np.unique(client.remove(encoded(PICTURE), om="1", ppm="1").picture)) <= {0, 255}


def test_profile_and_orientation_stay(client: Client) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a name"
    answer = client.remove(encoded(PICTURE, "PNG", exif=exif.tobytes(), icc_profile=b"0" * 16 + b"RGB " + b"0" * 108))
    assert answer.picture.shape[:2] == (PICTURE.shape[1], PICTURE.shape[0])
    with Image.open(io.BytesIO(answer.body)) as image:
        assert image.getexif()[0x010E] == "a name"
        assert len(image.info["icc_profile"]) == 128


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"model": "nothing"}, 400, "model is 'nothing'; expected tiny"),
        ({"om": "maybe"}, 400, "om is 'maybe'; expected true or false"),
        ({"bgc": "1,2"}, 400, "background is '1,2'; expected a colour's name"),
        ({"bgc": "1,2,3,128"}, 400, "background is '1,2,3,128'"),
        ({"bgc": "1,2,3", "background": "red"}, 400, "background and bgc are both given"),
        ({"background": "/etc/passwd"}, 400, "background is '/etc/passwd'"),
        ({"background": "docs/portrait.jpg"}, 400, "background is 'docs/portrait.jpg'"),
        ({"background": "blur:x"}, 400, "background is 'blur:x'"),
        ({"format": "gif"}, 400, "format is 'gif'; expected png, webp, jpeg"),
        ({"format": "jpeg"}, 400, "format is 'jpeg', which has no transparency"),
        ({"quality": "101"}, 400, "quality is '101'; expected 1 to 100"),
        ({"extras": '{"sam": 1}'}, 400, "extras is"),
    ],
)
def test_wrong_fields(client: Client, fields: dict[str, Any], status: int, error: str) -> None:
    answer = client.remove(encoded(PICTURE), **fields)
    assert answer.status == status
    assert answer.error.startswith(error)


def test_wrong_requests(client: Client) -> None:
    for body, kind, status, error in (
        (b"", "", 415, "the content type is missing"),
        (encoded(PICTURE), "image/png", 415, "the content type is image/png; expected multipart/form-data"),
        (*form(None, model="tiny"), 400, "the form has no file"),
        (b"file=abc", "application/x-www-form-urlencoded", 400, "the form has no file"),
        (b"nonsense", f"multipart/form-data; boundary={'b' * 20}", 400, "the form cannot be read"),
        (b"nonsense", "multipart/form-data", 400, "the form cannot be read"),
        (*form(b""), 422, "the picture cannot be read: it is empty"),
        (*form(b"no picture"), 422, "the picture cannot be read: it is no picture"),
        (*form(encoded(PICTURE)[:200]), 422, "the picture cannot be read"),
        (*form(encoded(np.zeros((1, LARGEST_SIDE + 1, 3), np.uint8))), 422, f"a frame is {LARGEST_SIDE + 1}x1"),
    ):
        answer = client.ask("POST", "/api/remove", body, {"Content-Type": kind} if kind else {})
        assert (answer.status, error in answer.error) == (status, True), answer.error


def test_limits() -> None:
    with running(body_bytes=20_000, pixels=32 * 24) as client:
        assert client.remove(encoded(PICTURE)).status == 200
        answer = client.remove(encoded(engines.noise(0, 33, 24)))
        assert (answer.status, answer.error) == (
            422,
            "the picture cannot be read: it is 33x24; expected 768 pixels at most",
        )
        answer = client.remove(bytes(20_001))
        assert (answer.status, answer.error) == (413, "the request has more than 20000 bytes; expected 20000 at most")
        body, kind = form(bytes(30_000))
        chunks = (body[start : start + 1000] for start in range(0, len(body), 1000))  # no length is told before
        assert client.ask("POST", "/api/remove", chunks, {"Content-Type": kind}).status == 413
        assert client.remove(encoded(PICTURE)).status == 200


# ---------------------------------------------------------------------------------------------------------------------
# Lines


def line(id: Any, pixels: Any) -> bytes:
    return json.dumps({"id": id, "image": base64.b64encode(encoded(pixels)).decode()}).encode() + b"\n"


def answers(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(each) for each in body.splitlines()]


def test_lines(client: Client) -> None:
    pictures = {number: engines.noise(number, 20 + number, 30) for number in range(20)}
    body = b"".join(line(number, each) for number, each in pictures.items()) + b"\nnonsense\n" + line("last", PICTURE)
    found = {each["id"]: each for each in answers(client.ask("POST", "/api/batch", body[:-1]).body)}
    assert found.pop(None)["error"].startswith("line 22 is no JSON")
    assert found.keys() == {*pictures, "last"}
    for number, each in found.items():
        with Image.open(io.BytesIO(base64.b64decode(each["image"]))) as image:
            np.testing.assert_array_equal(np.asarray(image), expected(pictures.get(number, PICTURE)))


def test_lines_are_answered_while_others_come(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), 30) as connection:
        connection.sendall(b"POST /api/batch?om=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        file = connection.makefile("rb")
        for number in range(3):
            sent = line(number, PICTURE)
            connection.sendall(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
            while b'"image"' not in (got := file.readline()):
                assert got
            assert json.loads(got)["id"] == number
        connection.sendall(b"0\r\n\r\n")
        assert b"0\r\n" in file.readlines(3)


def test_fields_of_lines(client: Client) -> None:
    (found,) = answers(client.ask("POST", "/api/batch?om=true", line(1, PICTURE)).body)
    with Image.open(io.BytesIO(base64.b64decode(found["image"]))) as image:
        assert image.mode == "L"
    answer = client.ask("POST", "/api/batch?om=perhaps", line(1, PICTURE))
    assert (answer.status, answer.error) == (400, "om is 'perhaps'; expected true or false")


# ---------------------------------------------------------------------------------------------------------------------
# The queue


def test_many_at_once(client: Client) -> None:
    """Nobody gets another's picture."""
    wrong: list[Any] = []

    def ask(seed: int) -> None:
        for number in range(10):
            pixels = engines.noise(seed * 100 + number, 16 + seed, 24)
            if not np.array_equal(client.remove(encoded(pixels)).picture, expected(pixels)):
                wrong.append((seed, number))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_batches() -> None:
    """An engine of two, and pictures of many sizes."""
    with running(tiny(2)) as client:
        body = b"".join(line(number, engines.noise(number, 20 + number, 24)) for number in range(9))
        for each in answers(client.ask("POST", "/api/batch", body).body):
            with Image.open(io.BytesIO(base64.b64decode(each["image"]))) as image:
                np.testing.assert_array_equal(
                    np.asarray(image), expected(engines.noise(each["id"], 20 + each["id"], 24))
                )


class Slow:
    """Holds the worker of the tiny model until it is let go."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        from trtmatte.apps.matting import Matting

        self.begun, self.go_on, self.count = threading.Event(), threading.Event(), 0
        real = Matting.together

        def together(matting: Any, *arguments: Any) -> Any:
            self.count += 1
            self.begun.set()
            assert self.go_on.wait(60)
            return real(matting, *arguments)

        until(lambda: client.get("/readyz").status == 200)
        monkeypatch.setattr(Matting, "together", together)


def test_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(waiting=3) as client:
        slow = Slow(client, monkeypatch)
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(client.remove(encoded(PICTURE)).picture)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        (model,) = client.server.site.shelf.loaded
        until(lambda: len(model.pictures) == 3)
        answer = client.remove(encoded(PICTURE))
        assert (answer.status, answer.error) == (429, "3 pictures wait, and 3 may; try again later")
        assert int(answer.headers["retry-after"]) >= 1
        slow.go_on.set()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        for each in found:
            np.testing.assert_array_equal(each, expected(PICTURE))


def test_a_client_that_goes_takes_its_picture_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as client:
        slow = Slow(client, monkeypatch)
        body, kind = form(encoded(PICTURE))
        lines = (
            "POST /api/remove HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
        head = "\r\n".join((*lines, "", ""))
        connections = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(5)]
        for each in connections:
            each.sendall(head.encode() + body)
            assert slow.begun.wait(30)  # with the first one
        (model,) = client.server.site.shelf.loaded
        until(lambda: len(model.pictures) == 5)
        for each in connections[1:]:
            each.close()
        until(lambda: len(model.pictures) == 1)
        slow.go_on.set()
        assert connections[0].makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        connections[0].close()
        assert slow.count == 1
        until(lambda: model.leases == 0)


def test_a_worker_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One request fails with it; what it says stays in the log."""
    from trtmatte.apps.matting import Matting

    with running() as client:
        until(lambda: client.get("/readyz").status == 200)
        with monkeypatch.context() as patch:
            patch.setattr(Matting, "together", lambda *_: 1 / 0)
            answer = client.remove(encoded(PICTURE))
            assert (answer.status, answer.error) == (500, "the server failed; its log has the reason")
        assert "ZeroDivisionError" in caplog.text
        np.testing.assert_array_equal(client.remove(encoded(PICTURE)).picture, expected(PICTURE))


def is_refused(client: Client) -> bool:
    try:
        client.get("/healthz")
    except OSError:
        return True
    return False


def test_what_is_taken_is_answered_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as client:
        slow = Slow(client, monkeypatch)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(client.remove(encoded(PICTURE)).picture))
        thread.start()
        assert slow.begun.wait(30)
        client.server.stop()
        until(lambda: is_refused(client))
        slow.go_on.set()
        thread.join(30)
        np.testing.assert_array_equal(found[0], expected(PICTURE))
