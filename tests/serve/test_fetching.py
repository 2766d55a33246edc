"""Pictures that are fetched from other hosts."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.runtime.session import engines
from tests.serve.serving import encoded, expected, running
from trtmatte.serve import fetching
from trtmatte.serve.fetching import fetch, is_public
from trtmatte.serve.refusals import Refusal

PICTURE = engines.noise(5)
MOST = 100_000


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        *(
            (each, False)
            for each in ("127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0")
        ),
        *((each, False) for each in ("::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1")),
        *(
            (each, False)
            for each in ("224.0.0.1", "ff02::1", "100.64.0.1", "2002:7f00:1::", "nonsense", "255.255.255.255")
        ),
    ],
)
def test_public_addresses(address: str, holds: bool) -> None:
    assert is_public(address) is holds


@pytest.mark.parametrize(
    ("url", "status", "error"),
    [
        ("ftp://pictures.example/a.png", 400, "expected http:// or https://"),
        ("file:///etc/passwd", 400, "expected http:// or https://"),
        ("http://", 400, "expected http:// or https://"),
        ("http://user@pictures.example/", 400, "expected http:// or https://"),
        ("http://pictures.example/a b", 400, "no spaces"),
        ("http://pictures.example/\r\nX: y", 400, "no spaces"),
        ("http://pictures.example:99999/", 400, "Port"),
        ("http://[bad/", 400, "url is"),
        ("http://other.example/", 403, "pictures of other.example are not fetched"),
        ("http://127.0.0.1/", 403, "pictures of 127.0.0.1 are not fetched"),
        ("http://pictures.example:22/", 403, "the port is 22; expected 80 or 443"),
    ],
)
def test_addresses_that_are_refused(url: str, status: int, error: str) -> None:
    with pytest.raises(Refusal, match=error) as refused:
        fetch(url, ["Pictures.example"], MOST, 1)
    assert refused.value.status == status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "[::1]"])
def test_a_host_on_this_machine(host: str) -> None:
    """Even if it is named."""
    with pytest.raises(Refusal, match=r"is on a private network|is not found"):
        fetch(f"http://{host}/", [host.strip("[]")], MOST, 1)


def test_a_name_with_one_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", (each, 80)) for each in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Refusal, match="private network"):
        fetch("http://pictures.example/", ["pictures.example"], MOST, 1)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        what = self.path.strip("/").partition("?")[0]
        if what.startswith("to-"):
            self.send_response(302)
            self.send_header(
                "Location", {"to-picture": "/picture", "to-itself": "/to-itself"}.get(what, "http://10.0.0.1/")
            )
            self.end_headers()
            return
        self.send_response(404 if what == "missing" else 200)
        self.end_headers()
        if what == "slow":
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        else:
            self.wfile.write(bytes(MOST + 1) if what == "large" else encoded(PICTURE))

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def as_public(monkeypatch: pytest.MonkeyPatch, web: int) -> None:
    """Let the test's own web pass for a host of the public network."""
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(fetching, "_PORTS", {"http": web, "https": 443})
    real = socket.getaddrinfo
    here = lambda host: "127.0.0.1" if host == "pictures.example" else host  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **options: real(here(host), *more, **options))


@pytest.mark.usefixtures("as_public")
def test_pictures_are_fetched() -> None:
    for path in ("picture", "to-picture", "picture?a=b"):
        assert fetch(f"http://pictures.example/{path}", ["pictures.example"], MOST, 10) == encoded(PICTURE)


@pytest.mark.usefixtures("as_public")
@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("missing", 422, "pictures.example answered 404"),
        ("large", 413, f"more than {MOST} bytes"),
        ("to-itself", 422, "leads on"),
        ("to-private", 403, "pictures of 10.0.0.1 are not fetched"),
        ("slow", 422, "did not arrive in time|timed out"),
    ],
)
def test_pictures_that_are_not_had(path: str, status: int, error: str) -> None:
    began = time.monotonic()
    with pytest.raises(Refusal, match=error) as refused:
        fetch(f"http://pictures.example/{path}", ["pictures.example"], MOST, 1)
    assert refused.value.status == status
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("as_public")
def test_over_http() -> None:
    with running(urls=("pictures.example",)) as client:
        answer = client.get("/api/remove?url=http://pictures.example/picture&om=1")
        np.testing.assert_array_equal(answer.picture, expected(PICTURE, "pha"))
        assert client.get("/api/remove?url=http://pictures.example/missing").status == 422
        assert client.get("/api/remove?url=http://other.example/picture").status == 403


def test_nothing_is_fetched_without_being_asked_to() -> None:
    with running() as client:
        answer = client.get("/api/remove?url=http://pictures.example/")
        assert (answer.status, answer.error.startswith("no pictures are fetched here")) == (403, True)
        assert client.get("/api/remove").status == 400
