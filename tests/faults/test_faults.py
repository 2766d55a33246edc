"""Every operation of some commands fails in turn, and processes are killed: files are whole or absent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import kills
from tests.faults.__main__ import told_wrongly
from tests.faults.scenarios import SCENARIOS
from tests.faults.sweep import Outcome, compiled, preloaded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD as Linux has it")


DROPPED = "PyAV library exception being dropped:\nTraceback (most recent call last):\n  File a\n    b\nOSError: no\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    return compiled(tmp_path_factory.mktemp("library"))


def swept(library: Path, out: Path, *arguments: str) -> dict[str, Any]:
    """The counts, where nothing is wrong."""
    ran = preloaded(library, [*arguments, "--out", str(out)], capture_output=True, timeout=3000)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def test_operations_of_build_and_image(library: Path, tmp_path: Path) -> None:
    found = swept(library, tmp_path, "build-again", "image", "--errors", "EIO", "--after", "0")
    assert found["build-again"]["operations"] > 40
    assert found["image"]["operations"] > 20
    for report in found.values():
        assert report["runs"] > report["refused"] > report["operations"] / 2


def test_a_full_disk(library: Path, tmp_path: Path) -> None:
    """Some of the operations; `make slow` has all, in every way."""
    swept(library, tmp_path, "build", "video", "folder", "--errors", "ENOSPC", "--after", "1", "--step", "7")


def test_short_writes_are_gone_on_with(library: Path, tmp_path: Path) -> None:
    found = swept(library, tmp_path, "build", "image", "--errors", "short", "--step", "5")
    assert [report["refused"] for report in found.values()] == [0, 0]


def test_allocations_of_the_core(library: Path, tmp_path: Path) -> None:
    (report,) = swept(library, tmp_path, "allocations", "--after", "0").values()
    assert report["refused"] > 3


def test_files_that_are_wrong_are_seen(tmp_path: Path) -> None:
    scenario = SCENARIOS["build-again"]
    scenario.prepare(tmp_path)
    scenario.reset(tmp_path)
    assert scenario.check(tmp_path, done=False) == []
    assert scenario.check(tmp_path, done=True)[0].startswith("e.trtm is not whole")
    shutil.copy(tmp_path / "in" / "tiny.trtm", tmp_path / "out" / "e.trtm")
    assert scenario.check(tmp_path, done=True) == []
    (tmp_path / "out" / ".e.trtm.0123.part").touch()
    (tmp_path / "out" / "f.trtm.txt").write_bytes(b"another's")
    assert scenario.check(tmp_path, done=True, killed=True) == ["f.trtm.txt changed"]
    assert scenario.check(tmp_path, done=True) == ["left .e.trtm.0123.part", "f.trtm.txt changed"]
    (tmp_path / "out" / "e.trtm").unlink()
    assert "no e.trtm" in scenario.check(tmp_path, done=False)


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (Outcome(0), []),
        (Outcome(1, told="trtmatte image: no space\n"), []),
        (Outcome(1), ["ended with 1 and told ''"]),
        (Outcome(99, told="Traceback\nOSError: no\n"), ["ended with 99 and told 'Traceback / OSError: no'"]),
        (Outcome(-11, told="the process ended with -11"), ["the process ended with -11"]),
        (Outcome(0, leaked=("out/a",)), ["leaked out/a"]),
        (Outcome(1, told=f"{DROPPED}{DROPPED}trtmatte video: no space\n"), []),
    ],
)
def test_ends_that_are_wrong_are_seen(outcome: Outcome, wrong: list[str]) -> None:
    assert list(told_wrongly(outcome)) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_operation_in_every_way(scenario: str, library: Path, tmp_path: Path) -> None:
    swept(library, tmp_path, scenario)


def killed(arguments: list[str], out: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.kills", *arguments, "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("scenario", kills.COMMANDS)
def test_a_killed_process_leaves_whole_files(scenario: str, tmp_path: Path) -> None:
    killed([scenario, "--times", "4"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", kills.COMMANDS)
def test_two_hundred_killed_processes_leave_whole_files(scenario: str, tmp_path: Path) -> None:
    killed([scenario, "--times", "200"], tmp_path)
