"""`trtmatte image --watch`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.apps import watching
from trtmatte.apps.pictures import Task
from trtmatte.cli import main
from trtmatte.errors import OutputError
from trtmatte.media import arrivals, still

ENGINE = ("--engine", "tiny.trtm", "--backend", "onnxruntime")


@pytest.fixture
def watched(here: Path) -> Path:
    """The current folder, with an engine and a folder of two pictures."""
    folder = here / "in"
    folder.mkdir()
    for number in range(2):
        put(folder / f"{number}.png", number)
    return folder


def put(path: Path, seed: int) -> None:
    Image.fromarray(engines.noise(seed)).save(path)


def expected(seed: int) -> Any:
    with engines.memory().session(backend="onnxruntime", outputs=("rgba",)) as session:
        matte = session(engines.noise(seed))[0].copy()
    matte[matte[..., 3] == 0] = 0
    return matte


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 60
    while not condition():
        assert monotonic() < end
        sleep(0.01)


@contextmanager
def watching_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "trtmatte.cli.main", "image", *arguments, *ENGINE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pictures_that_are_there_and_that_come(number: signal.Signals, watched: Path, here: Path) -> None:
    out = here / "out"
    with watching_process("--watch", "in", "-o", "out") as running:
        until(lambda: (out / "0.png").exists() and (out / "1.png").exists())
        Image.fromarray(engines.noise(2)).save(watched / "new.png.part", "PNG")
        (watched / "new.png.part").rename(watched / "new ü.png")
        until(lambda: (out / "new ü.png").exists())
        running.send_signal(number)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 0
    assert told == ("trtmatte image: watching in; Ctrl-C ends it\ntrtmatte image: 3 pictures are matted, 0 failed\n")
    for seed, name in enumerate(("0.png", "1.png", "new ü.png")):
        np.testing.assert_array_equal(np.asarray(Image.open(out / name)), expected(seed))


def run(watched: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, looks: int = 4) -> int:
    """The command, which is stopped after so many looks."""
    monkeypatch.setattr(watching, "_INTERVAL", 0)
    look, count = arrivals.Arrivals.look, []

    def counted(self: Any) -> Any:
        count.append(self)
        if len(count) > looks:
            os.kill(os.getpid(), signal.SIGINT)
        return look(self)

    monkeypatch.setattr(arrivals.Arrivals, "look", counted)
    return main.main(["image", *arguments, *ENGINE])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("arguments", [("in", "out", "--watch"), ("--watch", "in", "out"), ("--watch", "in", "-oout")])
def test_a_second_name_is_the_output(
    arguments: tuple[str, ...], watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have pictures in it, those of an earlier watch."""
    (here / "out").mkdir()
    (here / "out" / "1.png").write_bytes(b"from before")
    assert run(watched, here, monkeypatch, *arguments) == 0
    assert names(here / "out") == ["0.png", "1.png"]
    assert (here / "out" / "1.png").read_bytes() == b"from before"


def test_of_several_outputs_those_that_exist_stay(
    watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "out").mkdir()
    (here / "out" / "1.png").write_bytes(b"from before")
    assert run(watched, here, monkeypatch, "--watch", "in", "-o", "out", "--output", "rgba", "alpha") == 0
    assert names(here / "out") == ["0-alpha.png", "0.png", "1-alpha.png", "1.png"]
    assert (here / "out" / "1.png").read_bytes() == b"from before"
    with Image.open(here / "out" / "1-alpha.png") as image:
        assert image.mode == "L"


def test_y_overwrites_once(
    watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "out").mkdir()
    (here / "out" / "1.png").write_bytes(b"from before")
    assert run(watched, here, monkeypatch, "--watch", "in", "-o", "out", "-y", looks=6) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(here / "out" / "1.png")), expected(1))
    assert "2 pictures are matted, 0 failed" in capsys.readouterr().err


def test_outputs_beside_the_pictures_are_no_inputs(
    watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(watched, here, monkeypatch, "--watch", "in", "--output", "rgba", "alpha", looks=8) == 0
    assert names(watched) == [
        *("0-alpha.png", "0-cutout.png", "0.png", "1-alpha.png", "1-cutout.png", "1.png"),
    ]
    assert "2 pictures are matted" in capsys.readouterr().err


def test_a_bad_picture_and_a_plate_that_is_missing_stop_no_other(
    watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trtmatte.format import file

    file.write(engines.memory(with_plate=True), here / "tiny.trtm")
    monkeypatch.setattr(arrivals, "_PATIENCE", 0)
    (watched / "0a.png").write_bytes(b"words")
    plates = here / "plates"
    plates.mkdir()
    for name in ("0a.png", "1.png"):
        put(plates / name, 5)
    assert run(watched, here, monkeypatch, "--watch", "in", "-o", "out", "--plate", "plates", looks=8) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert "0a.png cannot be read: it is no picture" in "".join(told)
    assert "the folder plates has no picture 0.*, which in/0.png needs" in "".join(told)
    assert told[-1] == "trtmatte image: 1 pictures are matted, 2 failed"
    assert names(here / "out") == ["1.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--watch", "in", "-o", "out.png"),
            "--watch writes many pictures, and -o out.png takes one; expected a",
        ),
        (("--watch", "in", "-o", "-"), "--watch writes many pictures, and -o - takes one; expected a folder"),
        (("--watch", "in", "-o", "in"), "-o in is the watched folder; leave -o out to write NAME-cutout.png into it"),
        (("--watch", "in/0.png"), "--watch takes one folder, and INPUT is in/0.png"),
        (("--watch", "in", "in/0.png", "-o", "out"), "--watch takes one folder, and INPUT is in in/0.png"),
        (("--watch", "none", "-o", "out"), "--watch takes one folder, and INPUT is none"),
        (("--watch", "in", "-o", "out", "--background", "no"), "background is 'no'"),
    ],
)
def test_what_cannot_be_meant(
    arguments: tuple[str, ...], message: str, watched: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["image", *arguments, *ENGINE]) == 2
    told = capsys.readouterr().err.splitlines()
    assert message in told[-1]
    assert not (here / "out").exists()


def test_an_error_of_writing_ends_it(watched: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(still, "write", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        watching.watch(
            watched,
            lambda path: Task(path, {"rgba": here / path.name}),
            engines.memory(),
            kinds=["rgba"],
            backend="onnxruntime",
        )


def test_an_event_stops_it(watched: Path, here: Path) -> None:
    stop = threading.Event()

    def task(path: Path) -> Task:
        stop.set()
        return Task(path, {"rgba": here / path.name})

    seen = watching.watch(watched, task, engines.memory(), kinds=["rgba"], backend="onnxruntime", stop=stop)
    assert (seen.matted, seen.failed) == (2, 0)
