"""tools/gpu_check.sh, in a checkout that holds nothing but one test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check.sh"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with cores that nobody imports, and one test of sessions."""
    root = tmp_path / "checkout"
    for folder in ("tools", "python/trtmatte", "build/emulated", "build/gpu", "tests/runtime/session"):
        (root / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, root / "tools")
    (root / "python/trtmatte/__init__.py").touch()
    for build in ("emulated", "gpu"):
        (root / "build" / build / "_core.so").touch()
    test = "import carried, trtmatte\n\ndef test_it():\n    assert 'build/emulated/package' in trtmatte.__file__\n"
    for name in ("test_cuda_emulated.py", "test_interop.py"):
        (root / "tests/runtime/session" / name).write_text(test)
    return root


def run(checkout: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run the script. Returns the steps of its summary."""
    start(checkout, *arguments, **environment)
    summary: dict[str, Any] = json.loads((checkout / "out" / "summary.json").read_text())
    return summary["steps"]


def start(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "tools" / "gpu_check.sh", *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_on_the_python_path_are_found(checkout: Path, tmp_path: Path) -> None:
    """A machine without a network has its packages in a folder that PYTHONPATH names."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "carried.py").touch()
    steps = run(checkout, "--rehearse", "out", "sessions", PYTHONPATH=str(tmp_path / "site"))
    assert {name: each["status"] for name, each in steps.items()} == {"sessions": 0}


def test_a_missing_package_fails_its_step(checkout: Path) -> None:
    assert run(checkout, "--rehearse", "out", "sessions")["sessions"]["status"] != 0


def test_a_step_that_did_not_run_is_a_failure(checkout: Path) -> None:
    """A name that no step has, or one without its conditions: there are no plugins to check here."""
    done = start(checkout, "out", "plugins", CAPABILITY="9.0")
    assert done.returncode == 1
    assert "plugins did not run" in done.stdout


def test_without_a_gpu(checkout: Path) -> None:
    done = start(checkout, "out", "doctor")
    assert done.returncode == 2
    assert "nvidia-smi finds no GPU" in done.stdout


@pytest.mark.parametrize(("plain", "calls"), [("1", [None]), ("", [])])
def test_arrays_under_a_sanitizer_are_allocations_of_their_own(
    plain: str, calls: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool hides accesses beyond the end of an array."""
    chosen: list[None] = []
    stream = SimpleNamespace(ptr=1)
    cuda = SimpleNamespace(set_allocator=chosen.append, Stream=lambda non_blocking: stream)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setenv("TRTMATTE_PLAIN_ALLOCATIONS", plain)
    conftest.Cuda()
    assert chosen == calls


def test_sanitizers_run_with_plain_allocations(checkout: Path, tmp_path: Path) -> None:
    """On a machine whose nvidia-smi finds a GPU, and whose compute-sanitizer reports what it was given."""
    programs = {"nvidia-smi": "echo 9.0", "compute-sanitizer": 'echo "plain=$TRTMATTE_PLAIN_ALLOCATIONS $*"'}
    for name, line in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    steps = run(checkout, "out", "memcheck", "racecheck", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert {name: each["status"] for name, each in steps.items()} == {"memcheck": 0, "racecheck": 0}
    for tool in steps:
        assert f"plain=1 --tool {tool}" in (checkout / "out" / f"{tool}.log").read_text()
