"""`trtmatte image` and `trtmatte batch` in pipes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.format import file as engine_file

TRTMATTE = f"{sys.executable} -m trtmatte.cli.main"
ENGINE = "--engine tiny.trtm --backend onnxruntime"


@pytest.fixture
def here(here: Path) -> Path:
    """The current folder, with an engine and a picture."""
    Image.fromarray(engines.noise(0)).save("a.png")
    return here


def shell(line: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    line = line.replace("trtmatte", TRTMATTE, 1)
    return subprocess.run(["bash", "-c", line], input=given, capture_output=True, timeout=120, check=False)


def decoded(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def expected(output: str = "rgba", pixels: Any = None) -> Any:
    pixels = engines.noise(0) if pixels is None else pixels
    with engines.memory().session(backend="onnxruntime", outputs=(output,)) as session:
        matte = session(pixels)[0].copy()
    if output == "rgba":
        matte[matte[..., 3] == 0] = 0
    return np.squeeze(matte)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


@pytest.mark.parametrize(
    "line",
    [
        f"cat a.png | trtmatte image - {ENGINE} > out.png",
        f"trtmatte image - -o - {ENGINE} < a.png > out.png",
        f"trtmatte image - - {ENGINE} < a.png > out.png",
        f"trtmatte image a.png -o - {ENGINE} | cat > out.png",
        f"trtmatte image - -o out.png {ENGINE} < a.png",
        f"trtmatte image - out.png {ENGINE} < a.png",
    ],
)
def test_pictures_in_pipes(line: str, here: Path) -> None:
    ran = shell(line)
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_array_equal(decoded((here / "out.png").read_bytes()), expected())
    assert not (here / "-").exists()


def test_outputs_and_formats(here: Path) -> None:
    alpha = shell(f"trtmatte image a.png -o - --output alpha {ENGINE}")
    np.testing.assert_array_equal(decoded(alpha.stdout), expected("pha"))
    for format, kind in (("webp", "WEBP"), ("jpeg", "JPEG")):
        ran = shell(f"trtmatte image - --format {format} {ENGINE} < a.png")
        with Image.open(io.BytesIO(ran.stdout)) as image:
            assert image.format == kind


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        (f"trtmatte image - {ENGINE} < /dev/null", 2, "standard input cannot be read: it is empty; expected the bytes"),
        (f"trtmatte image - {ENGINE} <&-", 2, "standard input cannot be read: it is empty"),
        (f"echo words | trtmatte image - {ENGINE}", 2, "standard input cannot be read: it is no picture"),
        (f"head -c 300 a.png | trtmatte image - {ENGINE}", 2, "standard input cannot be read: "),
        (f"trtmatte image - a.png -o out {ENGINE} < a.png", 2, "- is standard input, one picture; expected no other"),
        (
            f"trtmatte image - -o . {ENGINE} < a.png",
            2,
            "-o . is a folder, and standard input has no name",
        ),
        (f"trtmatte image - a.png {ENGINE} < a.png", 2, "a.png exists already; -y overwrites"),
        (f"trtmatte image a.png -o - --output rgba alpha {ENGINE}", 2, "takes one picture, and there are the outputs"),
        (f"trtmatte image a.png b.png -o - {ENGINE}", 2, "there is no b.png"),
        (f"trtmatte image tiny.trtm a.png -o - {ENGINE}", 2, "standard output takes one picture, and there are 2 pict"),
        (f"trtmatte image a.png -o - --output rgba --format jpeg {ENGINE}", 2, "JPEG has no transparency"),
        (f"trtmatte image - --plate . {ENGINE} < a.png", 2, "--plate . is a folder, and standard input has no name"),
        (f"trtmatte image - --watch {ENGINE} < a.png", 2, "--watch takes one folder, and INPUT is -"),
        (f"trtmatte image a.png -o - {ENGINE} >&-", 1, "standard output cannot be written: Bad file descriptor"),
        (f"trtmatte image a.png -o - {ENGINE} > /dev/full", 1, "standard output cannot be written: No space left"),
        (f"trtmatte image a.png -o - {ENGINE} | true; exit ${{PIPESTATUS[0]}}", 141, ""),
    ],
)
def test_what_is_wrong(line: str, status: int, told: str, here: Path) -> None:
    before = sorted(here.iterdir())
    ran = shell(line)
    assert (ran.returncode, ran.stdout) == (status, b"")
    assert ran.stderr.decode().count("\n") == bool(told)
    assert told in ran.stderr.decode()
    assert sorted(here.iterdir()) == before


def test_limits(here: Path) -> None:
    Image.fromarray(np.zeros((8200, 8200, 3), np.uint8)).save("large.png")
    ran = shell(f"trtmatte image - --safe {ENGINE} < large.png")
    assert ran.returncode == 2
    assert b"standard input cannot be read: it is 8200x8200; expected 67108864 pixels at most" in ran.stderr


@pytest.mark.parametrize("stream", ["input", "output"])
def test_terminals(stream: str, here: Path) -> None:
    import pty

    master, slave = pty.openpty()
    line = f"{TRTMATTE} image - {ENGINE}"
    with (here / "a.png").open("rb") as picture:
        ran = subprocess.run(
            line.split(),
            stdin=slave if stream == "input" else picture,
            stdout=slave if stream == "output" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    os.close(slave)
    os.close(master)
    assert ran.returncode == 2
    assert re.fullmatch(f"trtmatte image: standard {stream} is a terminal.*\n", ran.stderr.decode())


# ---------------------------------------------------------------------------------------------------------------------
# Requests

SIZES = [(32, 24), (31, 45), (32, 24), (64, 20), (32, 24)]


def requests() -> bytes:
    lines = []
    for number, size in enumerate(SIZES):
        file = io.BytesIO()
        Image.fromarray(engines.noise(number, *size)).save(file, "PNG")
        lines.append(json.dumps({"id": number, "image": base64.b64encode(file.getvalue()).decode()}))
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("streams", [1, 2])
def test_requests_of_mixed_sizes(streams: int, here: Path) -> None:
    engine_file.write(engines.memory(streams), here / "tiny.trtm")
    ran = shell(f"trtmatte batch {ENGINE}", requests())
    assert (ran.returncode, ran.stderr) == (0, b"trtmatte batch: 5 pictures are matted, 0 failed\n")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert sorted(each["id"] for each in found) == [*range(5)]
    for each in found:
        meant = expected(pixels=engines.noise(each["id"], *SIZES[each["id"]]))
        np.testing.assert_array_equal(decoded(base64.b64decode(each["image"])), meant)


def test_a_bad_request_fails_alone(here: Path) -> None:
    ran = shell(f"trtmatte batch {ENGINE} --quiet", b"words\n" + requests())
    assert (ran.returncode, ran.stderr) == (1, b"")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    (bad,) = [each for each in found if "error" in each]
    assert (bad["id"], bad["line"]) == (None, 1)
    assert len(found) == 6


@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        ("--batch 3", 2, "--batch is 3, and tiny.trtm is built for 1; leave --batch out, or build another engine with"),
        ("--format jpeg --output rgba", 2, "JPEG has no transparency"),
        ("--output alpha --background red", 2, "--background is put behind the subject of a composite"),
        ("--background nocolour", 2, "background is 'nocolour'"),
        ("> /dev/full", 1, "standard output cannot be written: No space left"),
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_what_is_wrong_with_a_batch(flags: str, status: int, told: str, here: Path) -> None:
    ran = shell(f"trtmatte batch {ENGINE} {flags}", requests())
    assert ran.returncode == status
    assert ran.stderr.decode().count("\n") == bool(told)
    assert told in ran.stderr.decode()


def test_a_batch_is_stopped_while_its_pipe_is_silent(here: Path) -> None:
    command = [*TRTMATTE.split(), "batch", *ENGINE.split()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(requests())
        running.stdin.flush()
        found = [json.loads(running.stdout.readline()) for _ in SIZES]
        assert sorted(each["id"] for each in found) == [*range(5)]
        running.send_signal(signal.SIGTERM)
        assert running.stderr.read() == b"trtmatte batch: stopped\n"
        assert running.wait(30) == 143


def test_a_model_is_built_for_one_picture_and_for_a_batch(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Only the engines that are needed are built."""
    from types import SimpleNamespace

    from trtmatte.cli import main

    asked = []

    def build(model: str, **options: Any) -> Any:
        asked.append((model, options["size"], options["batch"]))
        return engines.memory(options["batch"])

    monkeypatch.setattr("trtmatte.cli.sessions.build", build)
    monkeypatch.setattr("trtmatte.apps.matting.follows_the_frame", lambda family: True)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(requests())))
    monkeypatch.setattr("trtmatte.apps.picture_queue._LINGER", 600)
    assert main.main(["batch", "--model", "u2netp", "--batch", "3", "--backend", "onnxruntime"]) == 0
    assert sorted(asked) == [("u2netp", (31, 45), 1), ("u2netp", (32, 24), 3), ("u2netp", (64, 20), 1)]
    found = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    for each in found:
        meant = expected(pixels=engines.noise(each["id"], *SIZES[each["id"]]))
        np.testing.assert_array_equal(decoded(base64.b64decode(each["image"])), meant)
