"""Pictures in a batch: one that is bad stops no other, and none that is read is written over."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trtmatte
from tests.media import films
from tests.runtime.session import engines
from trtmatte.apps.pictures import Task, convert
from trtmatte.errors import OutputError, SettingError
from trtmatte.format import file as engine_file
from trtmatte.support.limits import Limits

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(films.picture(number, 32, 24)).save(folder / f"{number}.png")
    return folder


def tasks(folder: Path, out: Path) -> list[Task]:
    return [Task(path, {"alpha": out / f"{path.name}.png"}) for path in sorted(folder.iterdir())]


def run(given: list[Task], **options: Any) -> list[str]:
    return [str(each) for each in convert(given, engines.memory(), backend="onnxruntime", **options)]


def test_bad_pictures_stop_no_other(pictures: Path, tmp_path: Path) -> None:
    Image.fromarray(films.picture(0, 64, 48)).save(pictures / "a.avif")
    data = bytearray((pictures / "a.avif").read_bytes())
    data[-100:] = os.urandom(100)
    (pictures / "a.avif").write_bytes(data[:-50])
    (pictures / "b.png").write_bytes(POSTSCRIPT)
    (pictures / "c.jpg").touch()
    os.mkfifo(pictures / "d.png")
    (pictures / "e.png").mkdir()
    (pictures / "f.png").symlink_to("nothing")
    problems = run(tasks(pictures, tmp_path))
    assert [problem.split(" cannot be read: ")[0][-6:] for problem in problems[:5]] == [
        *("a.avif", "/b.png", "/c.jpg", "/d.png", "/e.png")
    ]
    assert "there is no file" in problems[5]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["0.png.png", "1.png.png", "2.png.png"]


def link(how: str, path: Path, name: Path) -> None:
    name.symlink_to(path) if how == "link" else name.hardlink_to(path)


@pytest.mark.parametrize("how", ["link", "hard link"])
@pytest.mark.parametrize("what", ["source", "plate", "background", "engine", "reads"])
def test_no_file_that_is_read_is_overwritten(what: str, how: str, pictures: Path, tmp_path: Path) -> None:
    given = tasks(pictures, tmp_path)
    read, engine = pictures / "2.png", engines.memory()
    options: dict[str, Any] = {}
    if what in ("plate", "background"):
        read = tmp_path / "read.png"
        Image.fromarray(films.picture(0, 32, 24)).save(read)
    if what == "plate":
        given = [Task(each.source, each.places, read) for each in given]
    elif what == "background":
        given = [Task(each.source, {"composite": each.places["alpha"]}) for each in given]
        options = {"background": str(read)}
    elif what == "engine":
        read = tmp_path / "read.trtm"
        engine_file.write(engine, read)
        engine = trtmatte.load(read)
    elif what == "reads":
        read = tmp_path / "recipe.toml"
        read.write_text("[model]")
        options = {"reads": [str(read)]}
    before = read.read_bytes()
    link(how, read, tmp_path / "0.png.png")
    with pytest.raises(SettingError, match=r"0.png.png is an input as well, as .*; choose another path"):
        convert(given, engine, backend="onnxruntime", **options)
    assert (tmp_path / "0.png.png").read_bytes() == read.read_bytes() == before
    assert not (tmp_path / "1.png.png").exists()


def test_an_output_that_is_no_file(pictures: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.png.png")
    with pytest.raises(SettingError, match=r"0.png.png is a pipe; expected the name of a file"):
        run(tasks(pictures, tmp_path))


def test_permissions_are_kept(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png.png").touch(mode=0o600)
    assert run(tasks(pictures, tmp_path)) == []
    assert (tmp_path / "1.png.png").stat().st_mode & 0o777 == 0o600


def test_limits(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions get them as well."""
    Image.fromarray(films.picture(0, 64, 48)).save(pictures / "large.png")
    seen = []
    engine = engines.memory()
    session = type(engine).session

    def noted(self: Any, safe: Any = None, **options: Any) -> Any:
        seen.append(safe)
        return session(self, **options)

    monkeypatch.setattr(type(engine), "session", noted)
    limits = Limits(pixels=32 * 24)
    problems = [str(each) for each in convert(tasks(pictures, tmp_path), engine, backend="onnxruntime", safe=limits)]
    assert len(problems) == 1
    assert "large.png cannot be read: it is 64x48; expected 768 pixels at most" in problems[0]
    assert seen == [limits]


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "fchmod"])
def test_each_operation_may_fail(call: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is whole or as it was, and no other file is left."""
    out = tmp_path / "out"
    out.mkdir()
    given = tasks(pictures, out)
    for each in given:
        each.places["alpha"].write_bytes(b"before")
    real, calls = getattr(os, call), []

    def fail(*args: Any, **options: Any) -> Any:
        if ".part" in str(args[0]) or call in ("fsync", "fchmod"):
            calls.append(args)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **options)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        run(given)
    monkeypatch.undo()
    kept = 0
    for each in given:
        data = each.places["alpha"].read_bytes()
        kept += data == b"before"
        if data != b"before":
            assert np.asarray(Image.open(each.places["alpha"])).shape == (24, 32)
    assert kept >= 1
    assert len(list(out.iterdir())) == 3
