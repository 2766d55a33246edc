"""The cache: what a key depends on, and whose it is."""
# ruff: noqa: F811

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

import trtmatte
from tests.compiler.building import (  # noqa: F401
    CPU,
    SMALL,
    compiled,
    files,
    key_of,
    no_sessions_left,
    official,
    own_cache,
    program,
    rtx,
    sha256,
    shrinking,
    small,
)
from trtmatte import plugins
from trtmatte.api import load
from trtmatte.backends import tensorrt
from trtmatte.compiler import build as compiler
from trtmatte.compiler import source
from trtmatte.errors import EngineError, SettingError
from trtmatte.format import file as engine_file
from trtmatte.support import packages
from trtmatte.support.cache_contents import code_mark


def test_a_second_build_is_answered_from_the_cache(small: Path, tmp_path: Path, compiled: list[str]) -> None:
    first = trtmatte.build(small, **SMALL)
    second = trtmatte.build(str(small), out=tmp_path / "e.trtm", **{**SMALL, "size": "64x48"})
    third = trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert len(compiled) == 1
    assert first.manifest == second.manifest == third.manifest
    assert third.path == tmp_path / "e.trtm"


@pytest.mark.alone
def test_a_second_build_takes_less_than_half_the_time(official: Path, tmp_path: Path) -> None:
    def seconds(name: str, **options: Any) -> float:
        started = time.monotonic()
        trtmatte.build(official, size="1920x1080", downsample_ratio=0.25, out=tmp_path / name, **CPU, **options)
        return time.monotonic() - started

    first = seconds("e.trtm", force=True)
    for names in (["e.trtm"] * 3, ["another.trtm", "second.trtm", "third.trtm"]):
        again = min(seconds(name) for name in names)  # the machine may be busy with something else now and then
        assert again < first / 2, names


def test_an_engine_that_is_in_its_place_is_left_alone(small: Path, tmp_path: Path) -> None:
    trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    before = (tmp_path / "e.trtm").stat()
    trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert (tmp_path / "e.trtm").stat().st_ino == before.st_ino
    trtmatte.build(small, out=tmp_path / "e.trtm", batch=1, **{**SMALL, "size": (32, 32)})
    assert load(tmp_path / "e.trtm").program.size == (32, 32)


def test_force_builds_again(small: Path, tmp_path: Path, compiled: list[str]) -> None:
    for _ in range(2):
        trtmatte.build(small, out=tmp_path / "e.trtm", force=True, **SMALL)
    assert len(compiled) == 2


def test_a_build_makes_room_in_a_full_cache(small: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of older code go first, then the one that was not used for longest; the new one stays."""
    trtmatte.build(small, **SMALL)
    (engine,) = (own_cache / "engines").glob("*.trtm")
    size, hour = engine.stat().st_size, 3600
    others = [engine.with_name(f"{name}.trtm") for name in ("0123-old", f"{code_mark()}-a", f"{code_mark()}-b")]
    for number, place in enumerate([*others, engine]):
        if place != engine:
            place.write_bytes(bytes(size))
        os.utime(place, (time.time() - (4 - number) * hour,) * 2)
    monkeypatch.setenv("TRTMATTE_CACHE_SIZE", str(4 * size))
    trtmatte.build(small, **SMALL)  # from the cache: nothing is removed, and it counts as used
    assert all(place.exists() for place in others)
    assert time.time() - engine.stat().st_mtime < hour
    monkeypatch.setenv("TRTMATTE_CACHE_SIZE", str(3 * size))
    trtmatte.build(small, **{**SMALL, "precision": "fp32"})
    assert [place.exists() for place in (*others, engine)] == [False, False, True, True]
    assert len(list((own_cache / "engines").glob("*.trtm"))) == 3


def test_a_limit_that_is_wrong_is_told_before_the_build(
    small: Path, own_cache: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE_SIZE", "much")
    with pytest.raises(SettingError, match="TRTMATTE_CACHE_SIZE is 'much'"):
        trtmatte.build(small, **SMALL)
    assert compiled == []


CHANGES: dict[str, dict[str, Any]] = {
    "size": {"size": (32, 48)},
    "batch": {"batch": 2},
    "precision": {"precision": "fp32"},
    "a setting of the family": {"mean": (0.1, 0.1, 0.1)},
    "verbose": {"verbose": True},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_option_is_another_engine(change: dict[str, Any], small: Path) -> None:
    assert key_of(small) == key_of(small)
    assert key_of(small, **change) != key_of(small)


def test_another_target_is_another_engine(small: Path, rtx: dict[str, Any]) -> None:
    assert key_of(small, **rtx) != key_of(small)


def test_another_content_is_another_engine(small: Path, tmp_path: Path) -> None:
    path = tmp_path / small.name
    path.write_bytes(small.read_bytes())
    same = key_of(path)
    onnx.save(shrinking(weight=0.25), path)
    assert same == key_of(small) != key_of(path)


@pytest.mark.parametrize("location", ["weights.bin", "n" * 200], ids=["a short name", "a long name"])
def test_another_content_of_the_weights_file_is_another_engine(location: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(shrinking(), path, save_as_external_data=True, location=location, size_threshold=0)
    before, about = key_of(path), source._about(path)
    assert about["other_files"] == {location: sha256(tmp_path / location)}
    weights = bytearray((tmp_path / location).read_bytes())
    weights[3] ^= 1
    (tmp_path / location).write_bytes(bytes(weights))
    assert key_of(path) != before


def test_a_name_that_ends_in_nothing_is_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for ending in (b"", b"\xff", b"\xff" * 12, b"\x05ab", b"\x02..", b"\x00"):
        path.write_bytes(b"\x08\x08" + source._LOCATION + ending)
        assert list(source._other_files(path)) == []


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (compiler, "code_hash", lambda: "other code"),
        (compiler, "version_of", lambda package: f"another version of {package}"),
        (compiler, "_plugins_hash", lambda: "another library"),
        (engine_file, "FORMAT", 0),
    ],
    ids=["trtmatte's code", "onnx and torch", "the plugin library", "the format"],
)
def test_what_builds_is_part_of_the_key(
    place: Any, name: str, value: Any, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        return compiler.Request.of(small, None, **SMALL).key

    before = key()
    monkeypatch.setattr(place, name, value)
    assert key() != before


def test_the_version_of_tensorrt_is_part_of_the_key(
    small: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(small, **rtx)
    environment = tensorrt.environment
    monkeypatch.setattr(
        tensorrt, "environment", lambda target, **more: {**environment(target, **more), "version": "9.9"}
    )
    assert key_of(small, **rtx) != before


def test_the_code_s_hash_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    monkeypatch.setattr(packages, "__file__", str(tmp_path / "support" / "packages.py"))
    first = packages.code_hash.__wrapped__()
    (tmp_path / "a.py").write_text("a = 2")
    second = packages.code_hash.__wrapped__()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, packages.code_hash.__wrapped__()}) == 3


@pytest.mark.parametrize("name", ["libtrtmatte_plugins.so", "trtmatte_plugins.dll"])
def test_a_plugin_library_is_hashed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "plugins.py"))
    monkeypatch.setattr(plugins, "_LIBRARY", name)
    assert compiler._plugins_hash() is None
    (tmp_path / name).write_bytes(b"a library")
    assert compiler._plugins_hash() == sha256(tmp_path / name)


def test_a_damaged_engine_in_the_cache_is_built_again(small: Path, compiled: list[str]) -> None:
    place = trtmatte.build(small, **SMALL).path
    os.truncate(place, place.stat().st_size // 2)
    trtmatte.build(small, **SMALL).verify()
    assert len(compiled) == 2


def damaged(path: Path) -> None:
    """Change a byte of a network, as a bad disk does. The archive and the manifest stay as they are."""
    content = path.read_bytes()
    place = content.index(b"Conv")
    path.write_bytes(content[:place] + b"c" + content[place + 1 :])


def test_a_rotten_engine_in_the_cache_heals(small: Path, compiled: list[str]) -> None:
    cached = trtmatte.build(small, **SMALL).path
    assert cached is not None
    damaged(cached)
    trtmatte.build(small, **SMALL).verify()
    assert len(compiled) == 2
    trtmatte.load(cached).verify()


def test_a_rotten_engine_in_its_place_heals(small: Path, tmp_path: Path, compiled: list[str]) -> None:
    out = tmp_path / "here.trtm"
    trtmatte.build(small, out=out, **SMALL)
    damaged(out)
    trtmatte.build(small, out=out, **SMALL).verify()
    trtmatte.load(out).verify()
    assert len(compiled) == 1, "the cache has it"


def test_another_engine_with_the_same_key_is_not_taken_for_it(small: Path, tmp_path: Path) -> None:
    """A key is written by whoever writes a file: it proves nothing."""
    out = tmp_path / "here.trtm"
    built = trtmatte.build(small, out=out, **SMALL)
    code = engine_file.Plan("tensorrt", "x", {"network-0": b"not ours"}, {})
    engine_file.write(built.with_plans([code], built.manifest["key"]), out)
    assert "tensorrt" in trtmatte.load(out).plans
    assert "tensorrt" not in trtmatte.build(small, out=out, **SMALL).plans
    assert "tensorrt" not in trtmatte.load(out).plans


def test_an_engine_under_another_key_is_built_again(small: Path, compiled: list[str]) -> None:
    one, other = trtmatte.build(small, **SMALL), trtmatte.build(small, **SMALL, batch=2)
    one.path.write_bytes(other.path.read_bytes())
    assert trtmatte.build(small, **SMALL).manifest == one.manifest
    assert len(compiled) == 3


def test_the_cache_is_the_user_s_own(small: Path, own_cache: Path) -> None:
    (own_cache / "engines").mkdir(parents=True)
    (own_cache / "engines").chmod(0o777)
    trtmatte.build(small, **SMALL)
    assert stat.S_IMODE((own_cache / "engines").stat().st_mode) == 0o700


def test_a_cache_of_another_user_is_refused(small: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_cache / "engines").mkdir(parents=True)
    monkeypatch.setattr(os, "getuid", lambda: own_cache.stat().st_uid + 1)
    with pytest.raises(EngineError, match=r"belongs to another user; set TRTMATTE_CACHE"):
        trtmatte.build(small, **SMALL)


def test_a_cache_that_cannot_be_made(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EngineError, match="cannot be used: Not a directory; set TRTMATTE_CACHE"):
        trtmatte.build(small, **SMALL)


def test_what_a_killed_process_left_is_removed(small: Path, own_cache: Path) -> None:
    place = trtmatte.build(small, **SMALL).path
    remains = place.with_name(f".{place.name}.0123.part")
    remains.write_bytes(b"half of it")
    other = place.with_name(".another.trtm.0123.part")
    other.write_bytes(b"of another")
    trtmatte.build(small, force=True, **SMALL)
    assert files(own_cache / "engines") == sorted((other.name, place.name))


def test_a_full_disk(small: Path, small_disk: Path, own_cache: Path) -> None:
    with pytest.raises(EngineError, match=r"e.trtm cannot be written: No space left on device; free some space"):
        trtmatte.build(small, out=small_disk / "e.trtm", **SMALL)
    assert not files(small_disk)
    assert len(files(own_cache)) == 1, "the build was good, and is kept"


def test_a_cache_on_a_full_disk(small: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE", str(small_disk))
    with pytest.raises(EngineError, match=r"cannot be written: No space left on device; free some space"):
        trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert not files(tmp_path)


def test_a_folder_that_is_not_the_user_s(small: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is built; root may write anywhere, so the answer is made up."""
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(EngineError, match=r"e.trtm cannot be written: .* is write-protected; choose another"):
        trtmatte.build(small, out=small.parent / "e.trtm", **SMALL)
    assert not files(own_cache)
