"""The cache is shown, pruned on request, and kept within its limit, beside other processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from trtmatte.errors import SettingError
from trtmatte.support import cache_contents, files
from trtmatte.support.cache_contents import code_mark, entries, limit, prune, shrink

HOUR = 3600.0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "my cache"))
    return tmp_path / "my cache"


def put(place: Path, size: int = 100, hours: float = 1) -> Path:
    """A file that was last used this many hours ago."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(bytes(size))
    used = time.time() - hours * HOUR
    os.utime(place, (used, used))
    return place


def engine(cache: Path, name: str, **more: float) -> Path:
    return put(cache / "engines" / f"{code_mark()}-{name}.trtm", **more)


def names(found: list[cache_contents.Entry]) -> list[str]:
    return [entry.path.name for entry in found]


def test_an_empty_cache() -> None:
    assert entries() == []
    assert prune(entries(), 0) == []


def test_engines_of_older_code_go_first_then_what_was_not_used_for_longest(cache: Path) -> None:
    new, used = engine(cache, "new", hours=3), engine(cache, "used", hours=1)
    old = put(cache / "engines" / "0123.trtm", hours=0)
    network = put(cache / "openvino" / "a.network", hours=2)
    assert prune(entries(), None) != []
    assert not old.exists()
    assert names(prune(entries(), 250)) == [new.name]
    assert names(prune(entries(), 100)) == [network.name]
    assert used.exists()


def test_a_dry_run_removes_nothing(cache: Path) -> None:
    place = engine(cache, "a")
    assert names(prune(entries(), 0, dry=True)) == [place.name]
    assert place.exists()


def test_by_age(cache: Path) -> None:
    old, new = engine(cache, "old", hours=50), engine(cache, "new", hours=1)
    assert names(prune(entries(), None, older_than=time.time() - 24 * HOUR)) == [old.name]
    assert new.exists()


def test_only_what_the_library_makes_is_its_own(cache: Path) -> None:
    """The cache can lie in a folder of somebody's own."""
    mine = [put(cache / "engines" / "notes.txt"), put(cache / "engines" / "more" / "a.trtm"), put(cache / "photo.png")]
    link = cache / "engines" / "link.trtm"
    link.symlink_to(put(cache / "elsewhere.trtm"))
    prune([entry for entry in entries() if entry.is_made], 0)
    assert all(path.exists() for path in (*mine, link))


def test_what_another_process_makes_stays(cache: Path) -> None:
    place = engine(cache, "a")
    lock = place.with_suffix(".lock")
    with files.alone(lock):
        assert prune(entries(), 0) == []
    assert place.exists()
    assert names(prune(entries(), 0)) == [place.name]
    assert not lock.exists()


def test_remains_of_a_killed_process_go(cache: Path) -> None:
    part = put(cache / "engines" / f".{code_mark()}-a.trtm.0123abcd.part")
    assert names(prune(entries(), 0)) == [part.name]


def test_a_part_that_is_being_written_stays(cache: Path) -> None:
    place = engine(cache, "a")
    with files.replacing(place) as file:
        file.write(b"new")
        assert names(prune(entries(), 0)) == [place.name]
    assert place.read_bytes() == b"new"


def test_a_lock_that_was_removed_meanwhile_is_made_again(cache: Path) -> None:
    cache.mkdir()
    lock = cache / "a.lock"
    with files.alone(lock):
        lock.unlink()
        with files.alone(lock):  # another file
            assert lock.exists()


def test_a_new_file_makes_room_for_itself(cache: Path) -> None:
    older, newer = engine(cache, "older", hours=3), engine(cache, "newer", hours=2)
    model = put(cache / "models" / "u2netp.onnx", size=10_000)
    made = engine(cache, "made", hours=0)
    shrink(made, None)
    shrink(made, 300)
    assert older.exists()
    shrink(made, 250)
    assert [path.exists() for path in (older, newer, made, model)] == [False, True, True, True]
    shrink(made, 10)
    assert [path.exists() for path in (newer, made, model)] == [False, True, True]


def test_what_was_just_used_stays(cache: Path) -> None:
    other, made = engine(cache, "other", hours=0), engine(cache, "made", hours=0)
    shrink(made, 10)
    assert other.exists()


@pytest.mark.parametrize(
    ("text", "size"), [("", 4 << 30), ("1GiB", 1 << 30), ("0", 0), ("none", None), (" 5MB ", 5_000_000)]
)
def test_the_limit(text: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE_SIZE", text)
    assert limit() == size


def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE_SIZE", "much")
    with pytest.raises(SettingError, match="TRTMATTE_CACHE_SIZE is 'much'; expected a size such as 4GiB, or none"):
        limit()
