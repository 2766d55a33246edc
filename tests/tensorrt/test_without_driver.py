"""What a user meets who has TensorRT and no driver: one line that says so, and a process that lives on."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import trtmatte
from tests.compiler.building import shrinking
from tests.tensorrt import inside
from tests.tensorrt.libraries import LIBRARIES, alone, run
from trtmatte.backends import driver

pytestmark = [
    pytest.mark.parametrize("version", LIBRARIES),
    pytest.mark.skipif(driver.unavailable_reason() is None, reason="needs a machine without an NVIDIA driver"),
]
MISSING = "there is no NVIDIA driver (libcuda.so.1 is not found): install it, or use the CPU"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(shrinking(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_doctor(version: str) -> None:
    done = run(version, "-m", "trtmatte.cli.main", "doctor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (at,) = (index for index, line in enumerate(lines) if line.split()[0:1] == ["TensorRT"])
    assert lines[at].split()[1].startswith(f"{version}.")
    assert lines[at + 1].strip().startswith("cannot build: TensorRT builds on the GPU that it builds for: " + MISSING)
    assert lines[at + 2].strip() == "cannot run: " + MISSING


@pytest.mark.parametrize(
    "options", [("--target", "tensorrt", "--out", "m.trtm"), ("--export", "plan", "--out", "m.plan")], ids=str
)
def test_trtmatte_build(version: str, model: Path, options: tuple[str, ...]) -> None:
    command = "import sys; from trtmatte.cli.build import main; sys.exit(main())"
    out = (*options[:-1], model.with_name(options[-1]))
    done = run(version, "-c", command, model, "--family", "generic", "--size", "64x48", *out)
    assert done.returncode != 0
    assert done.stderr.startswith("trtmatte-build: ")
    assert MISSING in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_a_session(version: str, model: Path) -> None:
    engine = model.with_name("m.trtm")
    trtmatte.build(model, family="generic", size=(64, 48), target="onnxruntime", out=engine)
    alone(version, inside.a_session_says_what_is_missing, engine, MISSING)


def test_the_library_itself_does_not_start(version: str) -> None:
    alone(version, inside.nothing_starts_without_a_driver)
