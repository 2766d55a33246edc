"""Folders in pieces: packed, split, joined, and refused if a byte differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tools.gpu_day import archive
from tools.gpu_day.archive import Archive, ArchiveError

LIMIT = 20_000

pytestmark = pytest.mark.skipif(not shutil.which("xz") or not shutil.which("tar"), reason="needs tar and xz")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of 64 KB that cannot be compressed, with a program and a link."""
    folder = tmp_path / "source"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "noise.so").write_bytes(np.random.default_rng(0).bytes(64_000))
    (folder / "lib" / "noise.so.1").symlink_to("noise.so")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    return folder


@pytest.fixture
def packed(source: Path, tmp_path: Path) -> Archive:
    return archive.pack(source, "noise", tmp_path / "out", LIMIT)


@pytest.fixture
def pieces(packed: Archive, tmp_path: Path) -> Path:
    """The pieces in one folder, as after all calls."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for path in (tmp_path / "out").glob("*/*"):
        shutil.copy(path, folder)
    return folder


def test_pieces_are_small_and_in_folders_of_their_own(packed: Archive, tmp_path: Path) -> None:
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name for folder in folders] == [f"noise-{index}" for index in range(packed.pieces)]
    sizes = [path.stat().st_size for folder in folders for path in folder.iterdir()]
    assert len(sizes) == packed.pieces == 4
    assert max(sizes) <= LIMIT


@pytest.mark.parametrize("xz", [True, False], ids=["xz", "Python's own"])
def test_joined_it_is_the_same(
    xz: bool, packed: Archive, pieces: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not xz:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    target = tmp_path / "deep" / "joined"
    archive.join(packed, pieces, target)
    assert (target / "lib" / "noise.so.1").read_bytes() == (source / "lib" / "noise.so").read_bytes()
    assert (target / "lib" / "noise.so.1").is_symlink()
    assert (target / "run").stat().st_mode & 0o111
    assert [path.name for path in target.parent.iterdir()] == ["joined"]


def test_a_missing_piece_is_named(packed: Archive, pieces: Path, tmp_path: Path) -> None:
    (pieces / "noise.tar.xz.02").unlink()
    with pytest.raises(ArchiveError, match=r"of 4 pieces of noise, bring these as well: noise\.tar\.xz\.02"):
        archive.join(packed, pieces, tmp_path / "joined")


def test_a_changed_byte_is_refused(packed: Archive, pieces: Path, tmp_path: Path) -> None:
    damaged = pieces / "noise.tar.xz.01"
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(ArchiveError, match="SHA256"):
        archive.join(packed, pieces, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="tar ended with"):
        archive.pack(tmp_path / "nothing", "nothing", tmp_path / "out", LIMIT)


def test_the_list_of_archives(packed: Archive, tmp_path: Path) -> None:
    path = tmp_path / "archives.json"
    assert archive.read_list(path) == []
    archive.write_list([packed], path)
    assert archive.read_list(path) == [packed]
