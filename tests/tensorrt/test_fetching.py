"""tools/fetch_tensorrt.py with downloads of a few bytes: checked, unpacked as a whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.plugin_library import ROOT
from trtmatte.errors import DownloadError, SettingError

JAR = "maven/org/bytedeco/tensorrt/1.0/tensorrt-1.0-linux-x86_64-redist.jar"
WHEEL = "tensorrt_cu13_bindings-10.0-cp311-none-manylinux_2_28_x86_64.whl"


@pytest.fixture
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("fetch_tensorrt", ROOT / "tools" / "fetch_tensorrt.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cache(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with the downloads of a version 10.0."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "tensorrt"
    (cache / JAR).parent.mkdir(parents=True)
    with zipfile.ZipFile(cache / JAR, "w") as jar:
        for name in (*tool.LIBRARIES, "libnvinfer_vc_plugin.so"):
            jar.writestr(f"org/bytedeco/tensorrt/linux-x86_64/{name}.10", name)
    with zipfile.ZipFile(cache / WHEEL, "w") as wheel:
        wheel.writestr("tensorrt_bindings/__init__.py", "__version__ = '10.0.1'\nBuilder = object\n")
    hashes = [hashlib.sha256((cache / name).read_bytes()).hexdigest() for name in (JAR, WHEEL)]
    release = tool.Release("tensorrt-cu13-bindings==10.0", {"3.11": hashes[1]}, "1.0", hashes[0])
    monkeypatch.setattr(tool, "RELEASES", {"10.0": release})
    return cache


def test_what_is_needed_is_unpacked(tool: Any, cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "10.0"
    tool.fetch("10.0", folder, "3.11")
    assert {path.name: path.read_text() for path in (folder / "lib").iterdir()} == {
        f"{name}.10": name for name in tool.LIBRARIES
    }
    code = "import tensorrt; print(tensorrt.__version__, tensorrt.Builder)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder / "python", capture_output=True, text=True)
    assert done.stdout == "10.0.1 <class 'object'>\n"
    assert [path.name for path in folder.parent.iterdir()] == ["10.0"]
    with pytest.raises(SettingError, match="exists; expected a new folder"):
        tool.fetch("10.0", folder, "3.11")


def test_a_version_without_a_library_gets_stand_ins(tool: Any, cache: Path, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    tool.RELEASES["10.0"] = tool.RELEASES["10.0"]._replace(library="")
    tool.fetch("10.0", tmp_path / "10.0", "3.11")
    assert {path.name for path in (tmp_path / "10.0" / "lib").iterdir()} == {
        f"{each}.10" for each in tool.LIBRARIES[:3]
    }


@pytest.mark.parametrize("name", [JAR, WHEEL])
def test_another_content_is_refused_and_removed(tool: Any, cache: Path, tmp_path: Path, name: str) -> None:
    (cache / name).write_bytes(b"something else")
    with pytest.raises(DownloadError, match=r"has the SHA256 .*; expected .*\. The file was removed"):
        tool.fetch("10.0", tmp_path / "10.0", "3.11")
    assert not (cache / name).exists()
    assert not (tmp_path / "10.0").exists()


def test_an_interrupted_fetch_leaves_nothing(
    tool: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "extractall", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.fetch("10.0", tmp_path / "10.0", "3.11")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_without_maven(tool: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / JAR).unlink()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DownloadError, match=r"mvn is not installed; .* install Maven"):
        tool.fetch("10.0", tmp_path / "10.0", "3.11")
    assert not (tmp_path / "10.0").exists()


def test_a_python_without_bindings(tool: Any, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no bindings for Python 2\.7; expected one of 3\.11"):
        tool.fetch("10.0", tmp_path / "10.0", "2.7")


def test_the_command(tmp_path: Path) -> None:
    """It says whose the library is, and fails in one line."""
    command = [sys.executable, ROOT / "tools" / "fetch_tensorrt.py", "11.2", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NVIDIA's licence; trtmatte redistributes nothing of it" in done.stdout
    assert done.stderr == f"error: {tmp_path} exists; expected a new folder: remove it, or name another\n"
