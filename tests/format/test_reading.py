"""What was verified is what is used, whatever happens to the file meanwhile."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.api import load
from trtmatte.errors import EngineError, FrameError
from trtmatte.format.file import Plan, read, write
from trtmatte.support.limits import Limits

PLAN = Plan("tensorrt-rtx", "0123abcd", {"network-0": b"a plan" * 1000}, {"environment": {}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(engines.memory().with_plans([PLAN]), tmp_path / "tiny.trtm")
    return tmp_path / "tiny.trtm"


def test_a_file_that_is_cut_while_it_is_open_is_an_error(path: Path) -> None:
    """A mapping would end the process with SIGBUS."""
    program = (
        "import os, sys, trtmatte\n"
        "engine = trtmatte.load(sys.argv[1])\n"
        "os.truncate(sys.argv[1], 0)\n"
        "try: engine.session(backend='onnxruntime')\n"
        "except trtmatte.EngineError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=True)
    assert "network-0.onnx ends after the file does; the file is truncated" in ran.stdout


def test_a_file_that_is_overwritten_in_place_is_an_error(path: Path) -> None:
    engine = load(path)
    engine.verify()
    content = path.read_bytes()
    place = content.index(engine.network("network-0"))
    with path.open("r+b") as file:
        file.seek(place + 100)
        file.write(b"?" * 50)
    with pytest.raises(EngineError, match=r"network-0.onnx in the engine .* has the sha256"):
        engine.network("network-0")


def test_what_was_read_stays_as_it_was(path: Path) -> None:
    engine = load(path)
    network, frame = engine.network("network-0"), engines.noise(1)
    session = engine.session(backend="onnxruntime")
    expected = load(path).session(backend="onnxruntime")(frame).pha.copy()
    path.write_bytes(bytes(len(path.read_bytes())))
    np.testing.assert_array_equal(session(frame).pha, expected)
    assert network == engines.memory().network("network-0")


def test_a_file_that_takes_the_place_is_not_mixed_in(path: Path, tmp_path: Path) -> None:
    engine = load(path)
    (tmp_path / "other").write_bytes(bytes(path.stat().st_size))
    os.replace(tmp_path / "other", path)
    engine.verify()


def test_descriptors_do_not_leak(path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    load(path).verify()
    gc.collect()
    before = count()
    for _ in range(2000):
        load(path).verify()
    path.write_bytes(b"PK\3\4 no engine")
    for _ in range(2000):
        with pytest.raises(EngineError):
            load(path)
    gc.collect()
    assert count() <= before


def test_a_pipe_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.trtm")
    with pytest.raises(EngineError, match="cannot be read: it is a folder, a pipe or a device; expected a file"):
        load(tmp_path / "pipe.trtm")


def test_a_directory_of_many_files_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.trtm", "w") as archive:
        for number in range(30_000):
            archive.writestr(f"network-{number}.onnx", b"")
    with pytest.raises(EngineError, match=r"its directory has .* bytes; expected at most 1048576"):
        load(tmp_path / "many.trtm")


def test_what_is_written_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that lost a byte."""

    def damage(descriptor: int) -> None:
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            os.pwrite(descriptor, b"?", file.read().index(b"ReduceMean"))

    monkeypatch.setattr(os, "fsync", damage)
    with pytest.raises(EngineError, match="sha256"):
        write(engines.memory().with_plans([PLAN]), tmp_path / "tiny.trtm")


# ---------------------------------------------------------------------------------------------------------------------
# Safe mode


def test_safe_mode_leaves_plans_out(path: Path) -> None:
    assert load(path).plans
    engine = load(path, safe=True)
    assert engine.plans == {}
    assert list(engine.members) == ["network-0.onnx"]
    assert engine.manifest["not_built"] == {"tensorrt-rtx": "the file's plan is code, which safe mode does not run"}
    frame = engines.noise(1)
    expected = load(path).session(backend="onnxruntime")(frame).pha
    np.testing.assert_array_equal(engine.session(backend="onnxruntime")(frame).pha, expected)


def test_safe_mode_keeps_plans_that_are_onnx(tmp_path: Path) -> None:
    network = engines.memory().network("network-0")
    plan = Plan("onnxruntime", "cpu", {"network-0": network})
    write(engines.memory().with_plans([plan]), tmp_path / "tiny.trtm")
    assert load(tmp_path / "tiny.trtm", safe=True).plan("onnxruntime", "cpu", "network-0") == network


def test_safe_mode_refuses_large_frames(path: Path) -> None:
    limits = Limits(pixels=32 * 24)
    for session in (
        load(path, safe=limits).session(backend="onnxruntime"),
        trtmatte.Session(path, safe=limits, backend="onnxruntime"),
        trtmatte.Session(load(path), safe=limits, backend="onnxruntime"),
        load(path).session(safe=limits, backend="onnxruntime"),
    ):
        session(engines.noise(1))
        with pytest.raises(FrameError, match="33x24 pixels, 792 in all; expected at most 768"):
            session(engines.noise(1, 33, 24))
        assert session.engine.plans == {}
    load(path).session(backend="onnxruntime")(engines.noise(1, 33, 24))


def test_safe_mode_refuses_large_files(path: Path) -> None:
    size = path.stat().st_size
    assert read(path, Limits(file_bytes=size)).plans == {}
    with pytest.raises(EngineError, match=f"it has {size} bytes; expected at most {size - 1}"):
        load(path, safe=Limits(file_bytes=size - 1))
