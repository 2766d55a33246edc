"""`trtmatte cache`: what it shows, and what it removes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from trtmatte.cli.main import main
from trtmatte.support.cache_contents import code_mark

DAY = 86_400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a file of each kind: 40 days old, an engine of older code of today."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRTMATTE_CACHE", str(folder))
    monkeypatch.delenv("TRTMATTE_CACHE_SIZE", raising=False)
    for name, days in (
        (f"engines/{code_mark()}-a.trtm", 40),
        (f"engines/{code_mark()}-b.trtm", 1),
        ("engines/0123.trtm", 0),
        ("openvino/a.network", 40),
        ("models/u2netp.onnx", 40),
        ("models/my.onnx", 40),
    ):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes(1024))
        os.utime(place, (time.time() - days * DAY,) * 2)
    return folder


def removed(cache: Path, *flags: str) -> set[str]:
    before = {path for path in cache.rglob("*") if path.is_file()}
    assert main(["cache", "prune", *flags]) == 0
    return {path.relative_to(cache).as_posix() for path in before if not path.exists()}


def test_it_shows_each_kind(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{cache}: 6.0 KiB, at most 4.0 GiB without the models"
    assert [line.split("  ")[0] for line in lines[2:6]] == [
        *("engines", "networks compiled by OpenVINO", "models", "engines of older code")
    ]
    assert lines[2].split()[1:4] == ["2", "2.0", "KiB"]
    assert " to " in lines[2]
    assert "trtmatte cache prune" in lines[-1]


def test_it_shows_json(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "show", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["folder"], facts["limit"]) == (str(cache), 4 << 30)
    assert facts["kinds"]["models"]["bytes"] == 2048


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "none"))
    assert main(["cache"]) == 0
    assert "0 bytes" in capsys.readouterr().out
    assert main(["cache", "prune", "--all", "--models"]) == 0
    assert not (tmp_path / "none").exists()


ENGINES = {f"engines/{code_mark()}-a.trtm", f"engines/{code_mark()}-b.trtm"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", {"engines/0123.trtm"}),
        ("--dry-run --all --models", set()),
        ("--size 1KiB", {"engines/0123.trtm", f"engines/{code_mark()}-a.trtm", "openvino/a.network"}),
        ("--age 30d", {"engines/0123.trtm", f"engines/{code_mark()}-a.trtm", "openvino/a.network"}),
        (
            "--age 30d --models",
            {"engines/0123.trtm", f"engines/{code_mark()}-a.trtm", "openvino/a.network", "models/u2netp.onnx"},
        ),
        ("--all", {"engines/0123.trtm", "openvino/a.network", *ENGINES}),
        ("--all --models", {"engines/0123.trtm", "openvino/a.network", "models/u2netp.onnx", *ENGINES}),
    ],
)
def test_it_prunes(flags: str, expected: set[str], cache: Path) -> None:
    """A model that is not known is never removed."""
    assert removed(cache, *flags.split()) == expected


def test_what_is_in_use_is_told(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trtmatte.support import files

    with files.alone(cache / "engines" / f"{code_mark()}-a.lock"):
        assert main(["cache", "prune", "--all"]) == 1
    assert "3 files of 3.0 KiB removed; 1 of 1.0 KiB are left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--size much", "'much' is given; expected a size, such as 2GiB or 500MB"),
        ("--age 30", "'30' is given; expected a number and m, h, d or w"),
        ("--modles", "trtmatte cache prune: unrecognized arguments: --modles; did you mean --models?"),
    ],
)
def test_wrong_flags(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["cache", "prune", *flags.split()])
    assert error.value.code == 2
    assert message in capsys.readouterr().err
