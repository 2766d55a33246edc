"""Who may ask, and what every answer says to browsers."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterator

import pytest

from tests.runtime.session import engines
from tests.serve.serving import Client, encoded, running, until
from trtmatte.serve import guard

TOKEN = "a secret"
FILE = encoded(engines.noise(0))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def closed() -> Iterator[Client]:
    with running(token=TOKEN, hosts=("mattes.example",), origins=("https://friend.example",)) as found:
        yield found


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"])
def test_a_missing_or_wrong_token(closed: Client, given: str) -> None:
    headers = {"Authorization": given} if given else {}
    for method, path in (("GET", "/api/about"), ("GET", "/metrics"), ("POST", "/api/batch"), ("GET", "/nowhere")):
        answer = closed.ask(method, path, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert closed.remove(FILE, headers=headers).status == 401


def test_a_token_with_spaces_is_none() -> None:
    with running(token="open-sesame") as client:
        assert client.get("/api/about", Authorization="Bearer open-sesame").status == 200
        assert client.get("/api/about", authorization="bearer  open-sesame ").status == 200
        assert client.remove(FILE, headers={"Authorization": "Bearer open-sesame"}).status == 200


def test_the_page_and_the_health_need_no_token(closed: Client) -> None:
    for path in ("/", "/page/main.js", "/docs", "/openapi.json", "/healthz"):
        assert closed.get(path).status == 200
    until(lambda: closed.get("/readyz").status == 200)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:7000", "localhost:1", "LOCALHOST", "[::1]:7000", "10.1.2.3", socket.gethostname()]
)
def test_own_names(client: Client, host: str) -> None:
    assert client.get("/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:7000", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_names_of_strangers(client: Client, closed: Client, host: str) -> None:
    """A page of evil.example, which has given that name our address, is of the same site for its browser."""
    for each in (client, closed):
        answer = each.get("/", Host=host)
        assert answer.status == 403
        assert "the server is not called" in answer.error


def test_names_that_are_allowed(client: Client, closed: Client) -> None:
    assert closed.get("/healthz", Host="Mattes.Example:443").status == 200
    assert client.get("/healthz", Host="mattes.example").status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://", ""])
def test_pages_of_strangers(client: Client, origin: str) -> None:
    answer = client.remove(FILE, headers={"Origin": origin})
    assert answer.status == 403
    assert answer.error.startswith("pages of ")
    assert "access-control-allow-origin" not in answer.headers


def test_own_pages(client: Client) -> None:
    for scheme in ("http", "https"):  # behind a proxy
        origin = f"{scheme}://127.0.0.1:{client.port}"
        answer = client.remove(FILE, headers={"Origin": origin})
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers


def test_pages_that_are_allowed(closed: Client) -> None:
    origin = {"Origin": "https://friend.example"}
    asked = closed.ask("OPTIONS", "/api/remove", headers={**origin, "Access-Control-Request-Headers": "authorization"})
    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == "https://friend.example"
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers".lower()]
    assert closed.remove(FILE, headers=origin).status == 401
    assert closed.ask("OPTIONS", "/api/remove", headers={"Origin": "https://other.example"}).status == 403


def test_headers_of_every_answer(client: Client) -> None:
    for path, status in (("/", 200), ("/nowhere", 404), ("/api/remove", 400), ("/page/../settings.py", 404)):
        answer = client.get(path)
        assert answer.status == status
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/page/..%2fsettings.py", "/page/%2e%2e/settings.py", "/page//etc/passwd", "/page/%00"]
)
def test_tricks_with_paths(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_methods(client: Client) -> None:
    answer = client.ask("PUT", "/api/remove")
    assert (answer.status, answer.error) == (405, "PUT is not allowed here; expected POST")


def test_tokens_are_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append(both) or False)
    assert not guard.is_token("a", "b")
    assert not guard.is_token(None, "b")
    assert guard.is_token(None, None)
    assert compared == [(b"a", b"b")]
