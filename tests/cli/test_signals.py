"""Commands that are stopped: how soon they end, what they say, and what is left."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.media import films

pytest.importorskip("av")
PIL = pytest.importorskip("PIL.Image")

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SOON = 10  # seconds, on a busy machine; a command that hangs never ends
COMMAND = ("-m", "trtmatte.cli.main")
RAW = ("video", "-", "--raw", "32x24@25", "-o", "out.mp4", "--engine", "tiny.trtm", "--backend", "onnxruntime")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a command. What still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, program: Sequence[str] = COMMAND, **options: Any) -> subprocess.Popen[str]:
        piped = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
        running.append(subprocess.Popen([sys.executable, *program, *arguments], text=True, **piped))
        return running[-1]

    yield begin
    for each in running:
        each.kill()
        with each:  # closes the pipes
            pass


def wait_until(condition: Callable[[], object], running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_under_way(running: subprocess.Popen[str]) -> None:
    """Return when the command handles signals, and has had time to come to where it waits."""
    state = Path(f"/proc/{running.pid}/status")
    wait_until(lambda: int(re.findall(r"SigCgt:\s*(\w+)", state.read_text())[0], 16) & 1 << signal.SIGHUP - 1, running)
    time.sleep(1)


def writes(folder: Path) -> Callable[[], bool]:
    return lambda: any(path.name.startswith(".out.mp4") for path in folder.iterdir())


def ended(running: subprocess.Popen[str], lines: int = 1) -> tuple[int, str]:
    """The exit status and the message of a command that ends soon, although its input stays open."""
    assert running.stderr is not None
    began = time.monotonic()
    status = running.wait(SOON)
    told = running.stderr.read()
    assert time.monotonic() - began < SOON
    assert "Traceback" not in told
    assert told.count("\n") == lines
    return status, told


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.trtm"}


# ---------------------------------------------------------------------------------------------------------------------
# Films


@pytest.mark.parametrize("number", SIGNALS)
def test_a_film_from_a_silent_pipe(number: int, here: Path, start: Any) -> None:
    """The frames so far become a whole film, at once."""
    running = start(*RAW)
    for each in range(10):
        running.stdin.buffer.write(films.picture(each, 32, 24).tobytes())
    running.stdin.buffer.write(b"a part of a frame")
    running.stdin.flush()
    wait_until(writes(here), running)
    time.sleep(0.5)
    running.send_signal(number)
    status, told = ended(running)
    assert status == 128 + number
    assert told.startswith("trtmatte video: stopped after 10 frames")
    assert names(here) == {"out.mp4"}
    assert len(films.facts(here / "out.mp4").times) == 10


@pytest.mark.parametrize("number", SIGNALS)
def test_a_pipe_that_never_sent_a_frame(number: int, here: Path, start: Any) -> None:
    running = start(*RAW)
    wait_until(writes(here), running)
    time.sleep(0.3)
    running.send_signal(number)
    assert ended(running) == (128 + number, "trtmatte video: stopped before the first frame; nothing is left\n")
    assert names(here) == set()


def test_a_reader_that_takes_no_more(here: Path, start: Any) -> None:
    """The first signal waits for what is in the pipe; the second ends the command."""
    out = ["-" if each == "out.mp4" else each for each in RAW]
    (here / "frames").write_bytes(200 * films.picture(0, 32, 24).tobytes())
    with (here / "frames").open("rb") as frames:
        running = start(*out, stdin=frames)
    wait_until_under_way(running)
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert ended(running) == (130, "trtmatte video: stopped\n")


def test_what_the_caller_ignores_stays_ignored(here: Path, start: Any) -> None:
    """As `nohup` asks for."""
    running = start(*RAW, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_until(writes(here), running)
    running.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert running.poll() is None
    running.stdin.buffer.write(films.picture(0, 32, 24).tobytes())
    running.stdin.close()
    assert running.wait(30) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Libraries that do not return

STUCK = """
import ctypes, importlib, sys
mutex, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)

def stuck(*_, **__):
    while True:
        library.pthread_mutex_lock(mutex)

module, name, command, *sys.argv[1:] = sys.argv[1:]
setattr(importlib.import_module(module), name, stuck)
from trtmatte.cli import process
getattr(process, command)()
"""
LIBRARIES = {
    "video": ("trtmatte.cli.sessions", "engine", "trtmatte", "video", "in.mp4", "-o", "out.mp4"),
    "picture": ("trtmatte.cli.sessions", "engine", "trtmatte", "image", "in.png", "-o", "out"),
    "reading a picture": ("trtmatte.media.still", "read", "trtmatte", "image", "in.png", "-o", "out"),
    "live": ("trtmatte.cli.sessions", "engine", "trtmatte", "live", "--camera", "in.mp4", "--no-window"),
    "download": ("trtmatte.models.store", "pull", "trtmatte", "models", "pull", "rvm-mobilenetv3"),
    "build": ("trtmatte.api", "build", "build", "in.onnx"),
}


@pytest.mark.parametrize(("what", "number"), zip(LIBRARIES, itertools.cycle(SIGNALS), strict=False))
def test_a_library_that_never_returns(what: str, number: int, here: Path, start: Any) -> None:
    """Not even for a signal, on the main thread or on another one."""
    if what == "live":
        pytest.importorskip("cv2")
    films.film(here / "in.mp4", [films.picture(0, 32, 24)])
    PIL.fromarray(films.picture(0, 32, 24)).save(here / "in.png")
    before = names(here)
    module, name, command, *arguments = LIBRARIES[what]
    if command == "trtmatte" and arguments[0] != "models":
        arguments += ["--engine", "tiny.trtm", "--backend", "onnxruntime"]
    running = start(module, name, command, *arguments, program=("-c", STUCK))
    wait_until_under_way(running)
    running.send_signal(number)
    status, told = ended(running, lines=2 if what == "live" else 1)
    assert status == 128 + number
    assert re.search(r"^trtmatte\S*( \w+)?: stopped\n\Z", told, re.MULTILINE)
    assert names(here) - {"out"} == before
    assert not list(here.glob("out/*"))


# ---------------------------------------------------------------------------------------------------------------------
# At any moment


DROPS_A_RESULT = """
import os, sys, time, weakref
from trtmatte.cli import process, sessions

class Result:
    pass

def engine(*_, **__):
    result = Result()
    reference = weakref.ref(result, lambda _: os.kill(os.getpid(), number))
    del result
    try:
        time.sleep(30)
    finally:
        print("in order")

number, *sys.argv[1:] = int(sys.argv[1]), *sys.argv[2:]
sessions.engine = engine
process.trtmatte()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_result_is_dropped(number: int, here: Path, start: Any) -> None:
    """Python ignores the errors of code that runs then; the command ends in order all the same."""
    PIL.fromarray(films.picture(0, 32, 24)).save(here / "in.png")
    arguments = ("image", "in.png", "-o", "out", "--engine", "tiny.trtm")
    running = start(str(int(number)), *arguments, program=("-c", DROPS_A_RESULT))
    status, told = ended(running)
    assert (status, told) == (128 + number, "trtmatte image: stopped\n")
    assert running.stdout.read() == "in order\n"


@pytest.mark.parametrize("number", SIGNALS[:2])
@pytest.mark.parametrize("seconds", [0.15, 0.25, 0.35, 0.5, 0.7, 1.0])
def test_at_the_beginning(seconds: float, number: int, here: Path, start: Any) -> None:
    """Python's own start has no handlers yet; from then on there is a line at most, and never a traceback."""
    running = start(*RAW)
    time.sleep(seconds)
    running.send_signal(number)
    status = running.wait(SOON)
    told = running.stderr.read()
    assert status in (128 + number, -number)
    if status > 0:
        assert "Traceback" not in told
        assert told.count("\n") <= 1
    assert names(here) == set()
