"""`trtmatte serve` as a process: its flags, its end, TLS, and rembg's own examples."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from PIL import Image

from tests.runtime.session import engines
from tests.serve.serving import encoded, form
from trtmatte.cli import main
from trtmatte.format.file import write

FILE = encoded(engines.noise(3))
TINY = ["--models", "tiny.trtm", "--backend", "onnxruntime"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(engines.memory(), tmp_path / "tiny.trtm")
    return tmp_path


@contextlib.contextmanager
def served(*flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port."""
    command = [sys.executable, "-m", "trtmatte.cli.main", "serve", "--port", "0", *TINY, *flags]
    more = {**os.environ, **environment}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=more)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"trtmatte serve: open https?://\S+:(\d+) in a browser; Ctrl-C ends the server\n", line)
        assert found is not None, line + process.stderr.read()
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str = "GET", path: str = "/healthz", body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): each for name, each in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()


def remove(port: int) -> tuple[int, bytes]:
    body, kind = form(FILE)
    return ask(port, "POST", "/api/remove", body, Content_Type=kind)


# ---------------------------------------------------------------------------------------------------------------------
# Flags


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "0.0.0.0"], "--host is 0.0.0.0, which others can reach; give a --token"),
        (["--host", "::"], "--host is ::, which others can reach"),
        (["--host", "example.invalid", "--token", "a"], "host is 'example.invalid'"),
        (["--keyfile", "key.pem"], "--keyfile is given without --certfile"),
        (["--certfile", "none.pem"], "the certificate none.pem with the key none.pem cannot be used"),
        (["--model", "nothing"], "there is no model nothing|no known model is called 'nothing'|expected"),
        (["--models", "tiny.trtm", "./tiny.trtm"], "expected different names"),
        (["--port", "65536"], "expected"),
    ],
)
def test_wrong_flags(flags: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main.main(["serve", *([] if "--models" in flags or "--model" in flags else TINY), *flags])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert re.search(told, capsys.readouterr().err)


def test_an_engine_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["serve", "--models", "none.trtm"]) == 1
    assert "none.trtm" in capsys.readouterr().err


def test_a_port_that_is_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main.main(["serve", *TINY, "--port", str(port)]) == 2
    assert (
        f"port {port} of 127.0.0.1 cannot be had: Address already in use; name another one" in capsys.readouterr().err
    )


def test_a_package_that_is_missing(here: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [each for each in sys.modules if each.startswith("trtmatte.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main.main(["serve", *TINY]) == 2
    assert "trtmatte serve needs uvicorn: pip install 'trtmatte[serve]'" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# The process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_under_load(number: signal.Signals, here: Path) -> None:
    """What was taken is answered, and the status is 0."""
    with served() as (process, port):
        expected = remove(port)
        assert expected[0] == 200
        answers, refused, over = [], [], threading.Event()

        def load() -> None:
            while not over.is_set():
                try:
                    answers.append(remove(port))
                except (ConnectionRefusedError, ConnectionResetError):  # the port is closed: it was not taken
                    refused.append(number)
                    return

        threads = [threading.Thread(target=load) for _ in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(60) == 0
        over.set()
        for thread in threads:
            thread.join(60)
        assert len(answers) > 16
        assert set(answers) == {expected}
        assert len(refused) == 16


def test_a_token_in_the_environment(here: Path) -> None:
    with served(TRTMATTE_TOKEN="open-sesame") as (process, port):
        assert ask(port, path="/api/about")[0] == 401
        assert ask(port, path="/api/about", Authorization="Bearer open-sesame")[0] == 200
        commands = Path(f"/proc/{process.pid}/cmdline")
        assert not commands.exists() or b"open-sesame" not in commands.read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls(here: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    places = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", "req", *options, *subject, *places], check=True, capture_output=True)
    with served("--certfile", "cert.pem", "--keyfile", "key.pem") as (_, port):
        context = ssl.create_default_context(cafile="cert.pem")
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        body, kind = form(FILE)
        connection.request("POST", "/api/remove", body, {"Content-Type": kind, "Origin": f"https://localhost:{port}"})
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are calls of curl")
def test_rembgs_examples(here: Path) -> None:
    """The call of its README for a file, and the same with its fields; the pictures are those of `trtmatte image`."""
    (here / "input.png").write_bytes(FILE)
    with served() as (_, port):
        for fields, query, flags in (
            ([], "", []),
            (["-F", "om=true"], "", ["-om"]),
            (["-F", "model=tiny", "-F", "a=true", "-F", "af=240", "-F", "ab=10", "-F", "ae=10"], "", []),
            ([], "?om=true&ppm=true", ["-om", "-ppm"]),
            ([], "?bgc=255,0,0,255", ["-bgc", "255", "0", "0", "255"]),
        ):
            address = f"http://localhost:{port}/api/remove{query}"
            curl = ["curl", "--silent", "--fail", "-F", "file=@input.png", *fields, address, "-o", "served.png"]
            subprocess.run(curl, check=True)
            ours = ["image", "input.png", "-o", "image.png", "-y", "--engine", "tiny.trtm", "--backend", "onnxruntime"]
            assert main.main([*ours, "--quiet", *flags]) == 0
            with Image.open("served.png") as one, Image.open("image.png") as other:
                assert one.mode == other.mode
                np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
