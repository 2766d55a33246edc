"""Commands without streams, with full ones, and in odd surroundings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.media import films

COMMAND = f"{sys.executable} -m trtmatte.cli.main"
VIDEO = f"{COMMAND} video in.mp4 --engine tiny.trtm --backend onnxruntime -o"


@pytest.fixture
def here(here: Path) -> Path:
    """The current folder, with an engine and a film."""
    pytest.importorskip("av")
    films.film(here / "in.mp4", [films.picture(number, 32, 24) for number in range(12)])
    return here


def shell(line: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    everything = {**os.environ, **(environment or {})}
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, env=everything, check=False)


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("models <&-", 0, ""),
        ("models 2>&-", 0, ""),
        ("models >&-", 1, "trtmatte models: standard output cannot be written: Bad file descriptor\n"),
        ("models <&- >&- 2>&-", 1, ""),
        ("models >/dev/full", 1, "trtmatte models: standard output cannot be written: No space left on device\n"),
        ("models 2>/dev/full", 0, ""),
        ("--help >/dev/full", 1, "trtmatte: standard output cannot be written: No space left on device\n"),
        ("inspect none.onnx 2>/dev/full", 2, ""),
        ("nonsense 2>/dev/full", 2, ""),
        ("nonsense 2>&-", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(line: str, status: int, told: str) -> None:
    ran = shell(f"{COMMAND} {line}")
    assert (ran.returncode, ran.stderr.decode()) == (status, told)


@pytest.mark.parametrize("line", ["models list --long", "video --help"])
def test_a_reader_that_goes(line: str) -> None:
    """As of a program that SIGPIPE ends. The reader goes before the command writes."""
    ran = shell(f"{COMMAND} {line} | true; echo ${{PIPESTATUS[0]}}")
    assert (ran.stdout, ran.stderr) == (b"141\n", b"")


def test_a_reader_that_goes_is_an_error_of_a_film(here: Path) -> None:
    ran = shell(f"{VIDEO} - | true; echo ${{PIPESTATUS[0]}}")
    assert ran.stdout == b"1\n"
    assert re.search(r"^trtmatte video: standard output cannot be written: .*\n\Z", ran.stderr.decode(), re.MULTILINE)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_film_gets_the_number_of_a_closed_stream(closed: str, here: Path) -> None:
    assert shell(f"{VIDEO} out.mp4 {closed}").returncode == 0
    assert len(films.facts(here / "out.mp4").times) == 12


@pytest.mark.parametrize(("where", "reason"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on dev")])
def test_frames_for_a_standard_output_that_is_none(where: str, reason: str, here: Path) -> None:
    ran = shell(f"{VIDEO} - --quiet {where}")
    assert ran.returncode == 1
    assert re.fullmatch(f"trtmatte video: standard output cannot be written: {reason}.*\n", ran.stderr.decode())


def test_frames_from_a_standard_input_that_is_none(here: Path) -> None:
    ran = shell(f"{VIDEO.replace('in.mp4', '-')} out.mp4 --raw 32x24 <&-")
    assert ran.returncode == 2
    assert ran.stderr == b"trtmatte video: standard input has no frame; expected packed RGB, 8 bits a channel\n"


@pytest.mark.parametrize("name", [b"Gr\xfc\xdfe.onnx", "Grüße 视频.onnx".encode(), b"a\x1b[31m\nb.onnx"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_a_terminal_lacks(name: bytes, encoding: str, here: Path) -> None:
    ran = subprocess.run(
        [*map(os.fsencode, COMMAND.split()), b"inspect", name],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert ran.returncode == 2
    assert b"Traceback" not in ran.stderr
    assert b"\x1b" not in ran.stderr
    assert ran.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"TERM": "dumb"}]
    + [{"COLUMNS": columns} for columns in ("0", "1", "-5", "x", "99999")],
)
@pytest.mark.parametrize("command", ["video", "models"])
def test_terminals_that_are_odd(environment: dict[str, str], command: str) -> None:
    ran = shell(f"{COMMAND} {command} --help && {COMMAND} models", environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"rvm-mobilenetv3" in ran.stdout


@pytest.mark.parametrize("home", ["unset HOME TRTMATTE_CACHE", "unset TRTMATTE_CACHE; export HOME=/proc/none"])
def test_no_home(home: str, here: Path) -> None:
    assert shell(f"{home}; {VIDEO} out.mp4").returncode == 0
    assert shell(f"{home}; {COMMAND} models").returncode == 0


@pytest.mark.parametrize("command", ["models", "image in.png -o out --engine e.trtm", "doctor"])
def test_a_current_folder_that_is_gone(command: str, here: Path) -> None:
    ran = shell(f"mkdir gone; cd gone; rmdir ../gone; {COMMAND} {command}")
    assert (ran.returncode, ran.stderr) == (1, b"trtmatte: the current folder is gone; change to another one\n")
