"""Several processes that build, and processes that are stopped."""
# ruff: noqa: F811

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.compiler.building import SMALL, files, no_sessions_left, official, own_cache, program, rtx, small  # noqa: F401
from trtmatte.api import load
from trtmatte.backends.tensorrt import BuildCancelledError
from trtmatte.compiler import importing
from trtmatte.errors import ModelError


def test_two_processes_at_once_end_with_one_good_file(small: Path, own_cache: Path, tmp_path: Path) -> None:
    running = [subprocess.Popen(program(small, tmp_path / "e.trtm")) for _ in range(3)]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    load(tmp_path / "e.trtm").verify()
    (cached,) = files(own_cache / "engines")
    load(own_cache / "engines" / cached).verify()
    assert files(tmp_path) == [f"cache/engines/{cached}", "e.trtm"]


def stop_when_it_writes(small: Path, tmp_path: Path, with_signal: int) -> int:
    """Stops a process that builds the same engine without end, at a moment that nobody knows."""
    text = (
        "import itertools, signal, trtmatte; signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "for count in itertools.count():\n"
        f"    trtmatte.build({str(small)!r}, out={str(tmp_path / 'e.trtm')!r}, force=True, **{SMALL!r})\n"
        "    print(count, flush=True)"
    )
    running = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdout is not None
    running.stdout.readline()  # the modules are loaded, and it goes on writing
    time.sleep(np.random.default_rng().uniform(0, 0.05))
    running.send_signal(with_signal)
    running.stdout.close()
    return running.wait(60)


def test_a_killed_process_leaves_nothing_that_is_half_an_engine(small: Path, own_cache: Path, tmp_path: Path) -> None:
    for _ in range(5):
        assert stop_when_it_writes(small, tmp_path, signal.SIGKILL) == -signal.SIGKILL
        for name in files(tmp_path):
            if name.endswith(".trtm"):
                load(tmp_path / name).verify()
    trtmatte.build(small, **SMALL)  # and the lock is free again


def test_an_interrupted_process_leaves_nothing(small: Path, own_cache: Path, tmp_path: Path) -> None:
    for number in range(4):
        stop_when_it_writes(small, tmp_path, (signal.SIGINT, signal.SIGTERM)[number % 2])
        assert not [name for name in files(tmp_path) if not name.endswith(".trtm")]
        for name in files(tmp_path):
            load(tmp_path / name).verify()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ModelError("no such")], ids=repr)
def test_a_build_that_fails_leaves_nothing(
    error: Any, small: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(importing, "read", fail)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert not files(tmp_path)


def test_progress_is_told_and_can_cancel(official: Path, own_cache: Path, rtx: dict[str, Any]) -> None:
    told: list[tuple[str, float]] = []

    def cancel(what: str, done: float) -> bool:
        told.append((what, done))
        return what == "reading"

    with pytest.raises(BuildCancelledError, match="network-0 was cancelled"):
        trtmatte.build(official, downsample_ratio=0.25, progress=cancel, **rtx)
    assert told[0] == ("reading", 0.0)
    assert told[-1][0] == "tensorrt-rtx network-0"
    assert not [name for name in files(own_cache) if name.startswith("engines")]
