"""The cache folder is its user's own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trtmatte.errors import EngineError
from trtmatte.support.cache_folder import private_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs users as Unix has them")
needs_root = pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can give folders away")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "above" / "cache"))
    return tmp_path / "above" / "cache"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_folders_are_private(cache: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_folder("engines")
    finally:
        os.umask(before)
    assert (mode(cache), mode(folder)) == (0o700, 0o700)


def test_others_lose_the_right_to_write(cache: Path) -> None:
    (cache / "engines").mkdir(parents=True)
    for folder in (cache, cache / "engines"):
        folder.chmod(0o777)
    private_folder("engines")
    assert (mode(cache), mode(cache / "engines")) == (0o755, 0o700)


def test_a_folder_of_all_users_may_hold_it(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o1777)
    private_folder("engines")
    assert (mode(cache), mode(cache / "engines")) == (0o1777, 0o700)


@needs_root
@pytest.mark.parametrize("name", ["", "engines"])
def test_a_folder_of_another_user_is_not_trusted(name: str, cache: Path) -> None:
    (cache / "engines").mkdir(parents=True)
    os.chown(cache / name, 12345, 12345)
    with pytest.raises(EngineError, match="belongs to another user; set TRTMATTE_CACHE to a folder of your own"):
        private_folder("engines")


@needs_root
def test_a_link_of_another_user_is_not_followed(cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    (tmp_path / "documents").mkdir(0o755)
    (cache / "engines").symlink_to(tmp_path / "documents")
    os.chown(cache / "engines", 12345, 12345, follow_symlinks=False)
    with pytest.raises(EngineError, match="belongs to another user"):
        private_folder("engines")
    assert mode(tmp_path / "documents") == 0o755
