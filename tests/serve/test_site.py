"""What a server tells of itself: its models, its description, its counters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.runtime.session import engines
from tests.serve.live_client import LiveClient
from tests.serve.serving import Client, encoded, running, until
from trtmatte.serve.forms import FIELDS
from trtmatte.serve.site import Site
from trtmatte.version import __version__

FILE = encoded(engines.noise(0))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running() as found:
        until(lambda: found.get("/readyz").status == 200)
        yield found


def counted(client: Client, name: str) -> float:
    """The sum of what the lines of a counter say."""
    text = client.get("/metrics").body.decode()
    return sum(float(each) for each in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))


def test_about(client: Client) -> None:
    about = json.loads(client.get("/api/about").body)
    expected = {
        "version": __version__,
        "model": "tiny",
        "models": ["tiny"],
        "live": ["tiny"],
        "slots": 8,
        "device": "cpu",
    }
    assert about == expected


def test_ready(client: Client) -> None:
    """Once the usual model is loaded, until the end."""
    assert json.loads(client.get("/readyz").body) == {"status": "ready"}
    assert json.loads(client.get("/healthz").body) == {"status": "ok"}


def test_a_model_that_cannot_be_loaded() -> None:
    with running(pixels=1) as client:  # not even the picture of the start
        until(lambda: "cannot be loaded" in client.get("/readyz").error)
        assert client.get("/readyz").status == 503
        assert client.get("/healthz").status == 200


def test_what_is_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Site, "warm_up", lambda site: None)
    with running() as client:
        answer = client.get("/readyz")
        assert (answer.status, answer.error) == (503, "the model is being loaded")


def test_the_description(client: Client) -> None:
    """Every path is described, and every field."""
    described = json.loads(client.get("/openapi.json").body)
    assert described["openapi"] == "3.1.0"
    site = client.server.site
    assert described == site._described
    assert set(described["paths"]) >= {"/api/remove", "/api/batch", "/api/about", "/healthz", "/readyz", "/metrics"}
    form = described["paths"]["/api/remove"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", *FIELDS}
    text = client.get("/docs").body.decode()
    for path in described["paths"]:
        assert path in text
        for method in described["paths"][path]:
            answer = client.ask(method.upper(), path)
            assert answer.status not in (404, 405), path
    assert all(name in text for name in FIELDS)
    assert "<script" not in text
    assert client.get("/api").status == 307


def test_counters(client: Client) -> None:
    requests, frames = counted(client, "trtmatte_requests_total"), counted(client, "trtmatte_frames_total")
    assert client.remove(FILE).status == 200
    assert client.remove(b"nothing").status == 422
    assert client.get("/a/secret/name.jpg").status == 404
    with LiveClient(client.port) as stream:
        stream.ready()
        stream.send(0, engines.noise(0, 64, 48))
        stream.answer()
        assert counted(client, "trtmatte_streams") == 1
    assert counted(client, "trtmatte_requests_total") - requests >= 3
    until(lambda: counted(client, "trtmatte_frames_total") - frames == 1)
    assert counted(client, "trtmatte_frame_seconds_count") >= 1
    assert counted(client, "process_resident_memory_bytes") > 1 << 20
    assert counted(client, "trtmatte_picture_seconds") > 0
    text = client.get("/metrics").body.decode()
    assert 'trtmatte_requests_total{path="/api/remove",status="422"}' in text
    assert 'path="other",status="404"' in text
    assert "secret" not in text
    until(lambda: counted(client, "trtmatte_streams") == 0)
