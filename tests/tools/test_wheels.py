"""What builds wheels, and the wheels of `make wheels`, if TRTMATTE_WHEELS names their folder."""

from __future__ import annotations

import os
import platform
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import wheels

FOLDER = os.environ.get("TRTMATTE_WHEELS")


def built(pattern: str) -> list[Path]:
    if FOLDER is None:
        pytest.skip("no wheels were built: make wheels")
    found = sorted(Path(FOLDER).glob(pattern))
    assert found, f"there is no {pattern} in {FOLDER}"
    return found


def test_the_tag_of_each_wheel_is_that_of_its_symbols() -> None:
    for path in built("*.whl"):
        assert re.fullmatch(rf"trtmatte-[\d.]+-(cp31[0-3])-\1-{wheels.PLATFORM}\.whl", path.name)


def test_a_wheel_holds_the_package_alone() -> None:
    for path in built("*.whl"):
        names = [name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")]  # no folders
        assert {name.split("/")[0] for name in names} == {"trtmatte", path.name.split("-cp")[0] + ".dist-info"}
        assert {Path(name).suffix for name in names if name.startswith("trtmatte/")} == {".py", ".pyi", ".typed", ".so"}
        assert [name for name in names if name.endswith(".so")] == [
            f"trtmatte/_core.cpython-{path.name.split('-')[2][2:]}-{platform.machine()}-linux-gnu.so"
        ]
        assert {"trtmatte/py.typed", "trtmatte/_core.pyi"} <= set(names)
        assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_what_builds_it() -> None:
    (path,) = built("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "LICENSE", "cmake/ops.cmake", "csrc/bindings/module.cpp", "setup.py"} <= names
    assert {"examples/cpp/CMakeLists.txt", "tests/native/cuda_on_cpu/emulate.cmake"} <= names
    assert not [name for name in names if name.endswith(".so")]


def test_pythons_are_found_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that do not run are left out."""
    for version in ("3.9.1", "3.11.7", "3.12.1", "3.13.0"):
        place = tmp_path / "versions" / version / "bin" / "python3"
        place.parent.mkdir(parents=True)
        place.write_text("#!/bin/sh\nexit " + str(int(version == "3.12.1")))
        place.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [path.parts[-3] for path in wheels.found()] == ["3.11.7", "3.13.0"]


def test_without_a_python_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wheels, "found", list)
    with pytest.raises(SystemExit, match="2"):
        wheels.main([str(tmp_path)])
    assert "there is no Python 3.10 or 3.11 or 3.12 or 3.13 here" in capsys.readouterr().err


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", {"g++": "/usr/bin/g++", "ccache": "/usr/bin/ccache"}.get)
    plain = wheels.settings(None)
    assert plain["CXX"] == f"{sys.executable} -m ziglang c++ -target {platform.machine()}-linux-gnu.2.28"
    assert (plain["TRTMATTE_CUDA"], plain["CMAKE_CXX_COMPILER_LAUNCHER"]) == ("OFF", "ccache")
    with_cuda = wheels.settings(Path("nvcc"))
    assert (with_cuda["TRTMATTE_CUDA"], with_cuda["CUDAHOSTCXX"]) == ("ON", "/usr/bin/g++")
    assert with_cuda["CUDACXX"] == str(Path("nvcc").absolute())
