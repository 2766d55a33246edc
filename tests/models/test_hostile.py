"""Downloads run no code that lies about, write nowhere else, and take no more bytes than a model has."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models.test_store import CONTENT, Served, a_model, cache, index, make_wheel, part_of, site
from trtmatte.errors import DownloadError, EngineError
from trtmatte.models import download, store
from trtmatte.models.model import Wheel

__all__ = ["cache", "index", "site"]

PAYLOADS = {
    "writes": "open({witness!r}, 'w').close()\n",
    "loops": "import time\nend = time.time() + 60\nwhile time.time() < end: pass\nopen({witness!r}, 'w').close()\n",
}

Plant = Callable[[Path, str, pytest.MonkeyPatch], object]


def file(name: str) -> Plant:
    def plant(folder: Path, code: str, patch: pytest.MonkeyPatch) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)

    return plant


def named_by(variable: str, name: str) -> Plant:
    """A file that an environment variable leads to."""

    def plant(folder: Path, code: str, patch: pytest.MonkeyPatch) -> None:
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / name).write_text(code)
        patch.setenv(variable, str(elsewhere if variable == "PYTHONPATH" else elsewhere / name))

    return plant


VARIATIONS: dict[str, Plant] = {
    "pip.py": file("pip.py"),
    "pip/__main__.py": lambda folder, code, patch: [
        file(f"pip/{name}")(folder, code, patch) for name in ("__init__.py", "__main__.py")
    ],
    "sitecustomize.py": file("sitecustomize.py"),
    "usercustomize.py": file("usercustomize.py"),
    "zipfile.py": file("zipfile.py"),
    "runpy.py": file("runpy.py"),
    "encodings": file("encodings/__init__.py"),
    "PYTHONPATH with pip.py": named_by("PYTHONPATH", "pip.py"),
    "PYTHONPATH with sitecustomize.py": named_by("PYTHONPATH", "sitecustomize.py"),
    "PYTHONPATH that is relative": lambda folder, code, patch: [
        file("pip.py")(folder, code, patch),
        patch.setenv("PYTHONPATH", "."),
    ],
    "PYTHONSTARTUP": named_by("PYTHONSTARTUP", "start.py"),
    "setup.py": file("setup.py"),
}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("variation", VARIATIONS)
def test_what_lies_about_is_not_run(
    variation: str, payload: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index, {"toymodel/toy.onnx": CONTENT})
    here, witness = tmp_path / "here", tmp_path / "ran"
    here.mkdir()
    VARIATIONS[variation](here, PAYLOADS[payload].format(witness=str(witness)), monkeypatch)
    monkeypatch.chdir(here)
    assert store.pull(a_model(Wheel("toymodel==1.0", "toymodel/toy.onnx"))).read_bytes() == CONTENT
    assert not witness.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_code_of_a_source_package_is_not_run(payload: str, index: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = PAYLOADS[payload].format(witness=str(witness)).encode()
    with tarfile.open(index / "toymodel-1.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("toymodel-1.0/setup.py")
        entry.size = len(code)
        archive.addfile(entry, io.BytesIO(code))
    with pytest.raises(DownloadError, match="pip could not download"):
        store.pull(a_model(Wheel("toymodel==1.0", "toymodel/toy.onnx")))
    assert not witness.exists()


def test_the_settings_of_pip_stay_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pip")
    make_wheel(tmp_path / "mine", {"toymodel/toy.onnx": CONTENT})
    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", "pip.conf")
    monkeypatch.setenv("PIP_FIND_LINKS", "./mine")
    assert store.pull(a_model(Wheel("toymodel==1.0", "toymodel/toy.onnx"))).read_bytes() == CONTENT


def test_the_hash_of_a_wheel_is_pinned(index: Path) -> None:
    make_wheel(index, {"toymodel/toy.onnx": CONTENT})
    (wheel,) = index.iterdir()
    known = hashlib.sha256(wheel.read_bytes()).hexdigest()
    source = Wheel("toymodel==1.0", "toymodel/toy.onnx", known)
    with pytest.raises(DownloadError, match="pip could not download"):
        store.pull(a_model(replace(source, sha256="0" * 64)))
    assert store.pull(a_model(source)).read_bytes() == CONTENT


def test_a_member_larger_than_the_model_is_not_unpacked(index: Path, tmp_path: Path) -> None:
    make_wheel(index, {"toymodel/toy.onnx": bytes(50_000_000)})
    part = tmp_path / "part"
    with pytest.raises(DownloadError, match="more bytes than expected"):
        download.from_wheel("toymodel==1.0", "toymodel/toy.onnx", part, size=1_000_000)
    assert part.stat().st_size <= 1_000_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_damaged_wheel(compression: int, index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "toymodel.whl"
    with zipfile.ZipFile(wheel, "w", compression) as archive:
        archive.writestr("toy.onnx", CONTENT)
    damaged = bytearray(wheel.read_bytes())
    damaged[100:200] = bytes(100)
    wheel.write_bytes(damaged)
    with pytest.raises(DownloadError, match=r"does not hold toy\.onnx"):
        download._unpack(wheel, "toy.onnx", tmp_path / "part", 1 << 30)


@pytest.mark.parametrize("told", [True, False])
def test_a_server_that_sends_more_is_not_listened_to(told: bool, site, tmp_path: Path) -> None:
    served = Served(content=CONTENT + bytes(1 << 20))
    address = site.serve("/toy.onnx", served)
    if not told:  # and sends no Content-Length
        site.untold = True
    part = tmp_path / "part"
    with pytest.raises(DownloadError, match=r"bytes; expected|more bytes than expected"):
        download.over_http(address.url, part, len(CONTENT))
    assert not part.exists() or part.stat().st_size <= len(CONTENT)


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
def test_an_earlier_part_that_is_no_file_of_its_own(kind: str, site, tmp_path: Path) -> None:
    model = a_model(site.serve("/toy.onnx", Served()))
    part, victim = part_of(model), tmp_path / "victim"
    if kind != "dangling link":
        victim.write_bytes(b"precious")
    if kind == "hard link":
        os.link(victim, part)
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to(victim)
    assert store.pull(model).read_bytes() == CONTENT
    assert not model.path.is_symlink()
    assert victim.read_bytes() == b"precious" if kind != "dangling link" else not victim.exists()


def test_the_folder_of_the_models_is_the_users_alone(site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(site.serve("/toy.onnx", Served()))
    model.path.parent.mkdir(parents=True)
    model.path.parent.chmod(0o777)
    store.pull(model)
    assert stat.S_IMODE(model.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(model.path.stat().st_mode) == 0o600


def test_a_model_of_others_without_a_hash_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(sha256=None)
    model.path.parent.mkdir(parents=True)
    model.path.write_bytes(CONTENT)
    assert store.pull(model) == model.path
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(EngineError, match="belongs to another user"):
        store.pull(model)
