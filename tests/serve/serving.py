"""A server on a port of its own, and a client that says exactly what it is told."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.serve.server import Server
from trtmatte.serve.settings import Settings

expected = engines.cut_out

BOUNDARY = "a-boundary"


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        text: str = json.loads(self.body)["error"]
        return text

    @property
    def picture(self) -> Any:
        assert self.status == 200, self.body
        with Image.open(io.BytesIO(self.body)) as image:
            return np.asarray(image)


@dataclass
class Client:
    server: Server
    port: int

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): each for name, each in headers.items()})

    def remove(
        self, file: bytes | None, query: str = "", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Answer:
        body, kind = form(file, **fields)
        return self.ask("POST", f"/api/remove{query}", body, {"Content-Type": kind, **(headers or {})})


def form(file: bytes | None, **fields: Any) -> tuple[bytes, str]:
    """A form as browsers send it, and its content type."""
    parts = [f'name="{name}"\r\n\r\n{each}'.encode() for name, each in fields.items()]
    if file is not None:
        parts.append(b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + file)
    lines = [f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode() + part + b"\r\n" for part in parts]
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


def tiny(width: int = 1, **settings: Any) -> Settings:
    """The settings for a tiny recurrent model, whose engine has so many streams."""
    options = {"models": {"tiny": engines.memory(width)}, "model": "tiny", "options": {"backend": "onnxruntime"}}
    return Settings(**{**options, **settings})


@contextmanager
def running(settings: Settings | None = None, **more: Any) -> Iterator[Client]:
    server = Server(settings or tiny(**more), port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    client = Client(server, int(server.address.rpartition(":")[2]))
    try:
        until(lambda: client.get("/healthz").status == 200)
        yield client
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def until(holds: Any, seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:  # the server is not there yet
            pass
        assert time.monotonic() < end
        time.sleep(0.02)


def encoded(pixels: Any, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()
