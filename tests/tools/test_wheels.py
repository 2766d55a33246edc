"""What builds wheels, and the wheels of `make wheels`, if TRTMATTE_WHEELS names their folder."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.media import films
from tools import wheels

ROOT = Path(__file__).parents[2]
FOLDER = os.environ.get("TRTMATTE_WHEELS")


def built(pattern: str) -> list[Path]:
    if FOLDER is None:
        pytest.skip("no wheels were built: make wheels")
    found = sorted(Path(FOLDER).absolute().glob(pattern))
    assert found, f"there is no {pattern} in {FOLDER}"
    return found


def test_the_tag_of_each_wheel_is_that_of_its_symbols() -> None:
    for path in built("*.whl"):
        assert re.fullmatch(rf"trtmatte-[\d.]+-(cp31[0-3])-\1-{wheels.PLATFORM}\.whl", path.name)


def test_a_wheel_holds_the_package_alone() -> None:
    for path in built("*.whl"):
        names = [name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")]  # no folders
        assert {name.split("/")[0] for name in names} == {"trtmatte", path.name.split("-cp")[0] + ".dist-info"}
        page = {"trtmatte/serve/page/" + each.name for each in (ROOT / "python/trtmatte/serve/page").iterdir()}
        assert page <= set(names)
        code = {name for name in names if name.startswith("trtmatte/")} - page
        assert {Path(name).suffix for name in code} == {".py", ".pyi", ".typed", ".so"}
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


@pytest.fixture(params=wheels.VERSIONS)
def clean(request: pytest.FixtureRequest, tmp_path: Path) -> Clean:
    """An environment of each Python in which nothing is installed."""
    built("*")
    pythons = [path for path in wheels.found() if _version(path) == request.param]
    if not pythons:
        pytest.skip(f"there is no Python {request.param}")
    return Clean(pythons[0], tmp_path)


class Clean:
    """A virtual environment without a compiler on the path, and a folder with a photograph and a film."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder, self.bin = folder / "work", folder / "venv" / "bin"
        subprocess.run([python, "-m", "venv", self.bin.parent], check=True)
        self.folder.mkdir()
        shutil.copy(wheels.ROOT / "docs" / "portrait.jpg", self.folder / "photo.jpg")
        films.film(self.folder / "film.mp4")

    def run(self, *command: str, path: str = "") -> str:
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CC", "CXX", "CUDACXX")}
        own["PATH"] = f"{self.bin}:{path}".rstrip(":")
        command = (str(self.bin / command[0]), *command[1:])
        done = subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def install(self, *what: str, path: str = "") -> None:
        self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what, path=path)

    def works(self) -> None:
        """The commands run, from what is installed and not from the checkout."""
        assert "usage: trtmatte" in self.run("trtmatte", "--help")
        assert self.run("trtmatte", "--version").startswith("trtmatte ")
        assert str(self.bin.parent) in self.run("python", "-c", "import trtmatte; print(trtmatte.__file__)")
        self.run("trtmatte", "image", "photo.jpg", "--model", "u2netp")
        with Image.open(self.folder / "photo-cutout.png") as cutout:
            assert cutout.mode == "RGBA"

    def mattes_films(self) -> None:
        self.run("trtmatte", "video", "film.mp4")
        assert len(films.facts(self.folder / "film-matte.mov").frames) == 12


def test_a_wheel_works_without_a_compiler(clean: Clean) -> None:
    assert not any(shutil.which(name, path=str(clean.bin)) for name in ("cc", "c++", "g++", "clang", "cmake"))
    tag = "cp" + _version(clean.bin / "python").replace(".", "")
    (wheel,) = built(f"*-{tag}-*.whl")
    clean.install(str(wheel))
    clean.works()
    clean.install(f"{wheel}[cpu,video]")
    clean.mattes_films()


def test_the_source_distribution_works_with_a_compiler(clean: Clean) -> None:
    (source,) = built("*.tar.gz")
    clean.install(f"{source}[cpu,video]", path=os.environ["PATH"])
    clean.works()
    clean.mattes_films()


def _version(python: Path) -> str:
    ask = "import sys; print('{}.{}'.format(*sys.version_info))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


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
