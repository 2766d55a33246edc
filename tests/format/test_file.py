"""The engine file: what is written is read, and whatever is wrong with a file is found before it is used."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.api import Engine, load
from trtmatte.errors import EngineError
from trtmatte.format.file import FORMAT, Plan, write

PLAN = Plan("tensorrt-rtx", "0123abcd", {"network-0": b"a plan" * 1000}, {"precision": "fp16", "environment": {"a": 1}})


@pytest.fixture(scope="module")
def engine() -> Engine:
    tiny = engines.memory()
    networks = {"network-0": bytes(tiny.network("network-0"))}
    source = {"file": "tiny.onnx", "sha256": "0" * 64}
    return Engine.of(tiny.program, networks, plans=[PLAN], settings={"size": (32, 24)}, source=source, key="k")


@pytest.fixture
def path(engine: Engine, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.trtm"
    write(engine, path)
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Writing and reading


def test_what_is_written_is_read(engine: Engine, path: Path) -> None:
    found = load(path)
    assert found.path == path
    assert found.program == engine.program
    assert found.manifest == engine.manifest
    assert found.network("network-0") == engine.network("network-0")
    assert found.plan(PLAN.target, PLAN.key, "network-0") == PLAN.networks["network-0"]
    assert found.plans == {PLAN.target: {PLAN.key: PLAN.info}}
    assert found.manifest["settings"] == {"size": [32, 24]}


def test_a_plan_that_is_not_there(engine: Engine) -> None:
    assert engine.plan("tensorrt", PLAN.key, "network-0") is None
    assert engine.plan(PLAN.target, "another", "network-0") is None
    assert engine.plan(PLAN.target, PLAN.key, "network-1") is None


def test_a_network_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"has no network-7.onnx; it has network-0.onnx"):
        engine.network("network-7")


def test_an_engine_runs_as_it_was(engine: Engine, path: Path) -> None:
    frame = engines.noise(1)
    one, other = (each.session(backend="onnxruntime")(frame).copy() for each in (engine, trtmatte.load(path)))
    np.testing.assert_array_equal(one["pha"], other["pha"])
    assert one["pha"].any()


def test_the_same_engine_gives_the_same_bytes(engine: Engine, path: Path, tmp_path: Path) -> None:
    write(load(path), tmp_path / "again.trtm")
    assert (tmp_path / "again.trtm").read_bytes() == path.read_bytes()


def test_members_are_stored_and_begin_on_pages(path: Path) -> None:
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        members = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
    assert len(members) == 2
    assert all(content.find(data) % 4096 == 0 for data in members.values())


def test_plans_are_added_and_replaced(engine: Engine) -> None:
    other = Plan("tensorrt", "ffff", {"network-0": b"other"}, {"precision": "fp32"})
    newer = Plan(PLAN.target, PLAN.key, {"network-0": b"newer"}, {"precision": "fp32"})
    more = engine.with_plans([other, newer], "new key")
    assert more.plans == {"tensorrt": {"ffff": other.info}, PLAN.target: {PLAN.key: newer.info}}
    assert more.plan(PLAN.target, PLAN.key, "network-0") == b"newer"
    assert more.manifest["key"] == "new key"
    assert len(engine.plans) == 1


def test_errors_are_kept(engine: Engine, tmp_path: Path) -> None:
    write(engine.with_errors({"frames": 3}, "measured"), tmp_path / "e.trtm")
    assert load(tmp_path / "e.trtm").manifest["errors"] == {"frames": 3}
    assert load(tmp_path / "e.trtm").manifest["key"] == "measured"


def test_an_engine_takes_the_place_of_another(engine: Engine, path: Path) -> None:
    open_one = load(path)
    write(engine.with_errors({"frames": 3}), path)
    assert load(path).manifest["errors"] == {"frames": 3}
    open_one.verify()  # what is mapped stays as it was


def test_importing_reads_neither_onnx_nor_torch() -> None:
    program = (
        "import sys, trtmatte; trtmatte.load; trtmatte.Engine; "
        "print([name for name in ('onnx', 'torch', 'onnxruntime', 'openvino') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# ---------------------------------------------------------------------------------------------------------------------
# Files that are wrong


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> None:
    """The archive with its members changed, as another program would write it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def manifest(**changes: object) -> Callable[[Path], None]:
    def change(members: dict[str, bytes]) -> None:
        content = json.loads(members["manifest.json"]) | changes
        members["manifest.json"] = json.dumps({k: v for k, v in content.items() if v is not None}).encode()

    return lambda path: rewritten(path, change)


def member(name: str, data: bytes | None = b"x") -> Callable[[Path], None]:
    def change(members: dict[str, bytes]) -> None:
        members.pop(name, None)
        if data is not None:
            members[name] = data

    return lambda path: rewritten(path, change)


def another_member_of_one_name(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("network-0.onnx", b"another")


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def another_name_where_it_lies(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("network-0.onnx").header_offset + 30
    content = bytearray(path.read_bytes())
    assert content[place : place + 14] == b"network-0.onnx"
    content[place : place + 14] = b"network-9.onnx"
    path.write_bytes(bytes(content))


def crossed_out_in_the_directory(path: Path) -> None:
    """A local header that is none, though the archive's directory points at it."""
    content = bytearray(path.read_bytes())
    content[:4] = b"ABCD"
    path.write_bytes(bytes(content))


def size_beyond_the_end(path: Path) -> None:
    content = bytearray(path.read_bytes())
    entry = content.rfind(b"PK\1\2")
    struct.pack_into("<II", content, entry + 20, 1 << 30, 1 << 30)
    path.write_bytes(bytes(content))


WRONG: list[tuple[str, Callable[[Path], object], str]] = [
    ("not there", lambda path: path.unlink(), "does not exist; trtmatte-build MODEL -o tiny.trtm"),
    ("empty", lambda path: path.write_bytes(b""), "is empty"),
    ("a folder", lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ("text", lambda path: path.write_text("no engine"), "not an engine file"),
    ("an ONNX file", lambda path: path.write_bytes(bytes(engines.memory().network("network-0"))), "not an engine file"),
    ("cut in two", cut(0.5), "truncated"),
    ("cut at its end", lambda path: os.truncate(path, path.stat().st_size - 1), "truncated"),
    ("a zip of another kind", member("manifest.json", None), "has no manifest.json"),
    (
        "newer",
        manifest(format=FORMAT + 1, made_by="trtmatte 9.1"),
        r"format 3 \(made by trtmatte 9.1\).*update trtmatte",
    ),
    ("no format", manifest(format=None), "no format version"),
    ("a format of another type", manifest(format="1"), "no format version"),
    ("manifest not JSON", member("manifest.json", b"{"), "manifest is damaged"),
    ("manifest nested without end", member("manifest.json", b"[" * 100_000), "manifest is damaged"),
    ("manifest a list", member("manifest.json", b"[]"), "no format version"),
    ("no program", manifest(program=None), "program in the engine's manifest"),
    ("another program", manifest(program={"family": "rvm"}), "program is not as expected"),
    (
        "plans without a key",
        manifest(plans=[{"target": "tensorrt", "info": {}}]),
        "a plan in the engine's manifest lacks key",
    ),
    ("no members listed", manifest(members={}), "no hash of network-0.onnx"),
    ("a network is missing", member("network-0.onnx", None), "lacks network-0.onnx"),
    ("more than the manifest lists", member("network-1.onnx"), "no hash of network-1.onnx"),
    ("a member of another size", member("network-0.onnx", b"short"), "has 5 bytes, its manifest says"),
    ("a script", member("run.py"), "'run.py', which no engine has"),
    ("up and out", member("../tiny.onnx"), "leaves the archive"),
    ("up and out on the way", member("plans/../../tiny.onnx"), "leaves the archive"),
    ("from the root", member("/etc/passwd"), "leaves the archive"),
    ("backslashes", member("..\\tiny.onnx"), "leaves the archive"),
    ("a drive", member("c:/tiny.onnx"), "leaves the archive"),
    ("a key that climbs", member("plans/tensorrt/../network-0.plan"), "leaves the archive"),
    ("twice the same name", another_member_of_one_name, "two members called 'network-0.onnx'"),
    ("two names for one", another_name_where_it_lies, "another name where it lies"),
    ("nothing where it should lie", crossed_out_in_the_directory, "not an engine file|truncated or damaged"),
    ("larger than the file", size_beyond_the_end, "ends after the file does"),
    ("compressed", lambda path: rewritten(path, lambda _: None, compression=zipfile.ZIP_DEFLATED), "is compressed"),
]


@pytest.mark.parametrize(("damage", "message"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_a_wrong_file_is_refused(damage: Callable[[Path], object], message: str, path: Path) -> None:
    damage(path)
    with pytest.raises(EngineError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_zip_bomb_is_not_unpacked(path: Path) -> None:
    def grow(members: dict[str, bytes]) -> None:
        members["network-0.onnx"] = bytes(1 << 28)

    rewritten(path, grow, compression=zipfile.ZIP_DEFLATED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert path.stat().st_size < 1 << 20
    with pytest.raises(EngineError, match="compressed"):
        load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # KiB


@pytest.mark.parametrize("name", ["network-0.onnx", f"plans/{PLAN.target}/{PLAN.key}/network-0.plan"])
def test_a_hash_that_differs_is_found_before_use(name: str, path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        data = archive.read(name)
    content = path.read_bytes()
    path.write_bytes(content.replace(data, bytes([data[0] ^ 1]) + data[1:]))
    engine = load(path)
    with pytest.raises(EngineError, match=rf"{name} in the engine .*tiny.trtm has the sha256 \w+, expected \w+"):
        engine.verify()
    with pytest.raises(EngineError, match="sha256"):
        engine.network("network-0") if name.endswith("onnx") else engine.plan(PLAN.target, PLAN.key, "network-0")


def test_every_shorter_file_is_refused(path: Path) -> None:
    size = path.stat().st_size
    for length in {*range(0, size, 97), *range(size - 200, size)}:
        os.truncate(path, length)
        with pytest.raises(EngineError):
            load(path)
        write_back(path, size)


def write_back(path: Path, size: int) -> None:
    """To its full length again, for the next cut; what was cut is zeros, which is as bad."""
    os.truncate(path, size)


def test_no_damage_gets_through(engine: Engine, path: Path) -> None:
    """One changed byte: an EngineError, or nothing that matters, never another exception or other content."""
    content = path.read_bytes()
    last = content.find(b"PK\1\2")
    random_ = random.Random(0)
    places = [*random_.sample(range(len(content)), 200), *random_.sample(range(last, len(content)), 200)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << random_.randrange(8)
        path.write_bytes(bytes(changed))
        try:
            found = load(path)
            found.verify()
        except EngineError:
            continue
        assert found.manifest == engine.manifest
        assert found.network("network-0") == engine.network("network-0")


# ---------------------------------------------------------------------------------------------------------------------
# Writing that fails


def test_a_folder_that_is_not_there(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No such file or directory; make its folder first"):
        write(engine, tmp_path / "nowhere" / "tiny.trtm")


def in_a_child(work: Callable[[], None]) -> None:
    """Where the process may be made poorer; fails here if it fails there."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_without_permission(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    for each in (tmp_path, *tmp_path.parents):
        if not each.stat().st_mode & 0o001:  # whoever works below must come through
            each.chmod(0o755)
    folder.chmod(0o555)

    def work() -> None:
        if os.getuid() == 0:
            os.setuid(65534)  # root may write anywhere
        with pytest.raises(EngineError, match="Permission denied; choose another place"):
            write(engine, folder / "tiny.trtm")

    in_a_child(work)
    assert not list(folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_file_that_may_not_grow(engine: Engine, tmp_path: Path) -> None:
    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
        with pytest.raises(EngineError, match="File too large"):
            write(engine, tmp_path / "tiny.trtm")

    in_a_child(work)
    assert not list(tmp_path.iterdir())


def test_a_full_disk(engine: Engine, small_disk: Path) -> None:
    with pytest.raises(EngineError, match="No space left on device; free some space"):
        write(engine, small_disk / "tiny.trtm")
    assert not list(small_disk.iterdir())


def test_a_full_disk_leaves_what_was_there(engine: Engine, small_disk: Path) -> None:
    before = b"the engine that was there"
    (small_disk / "tiny.trtm").write_bytes(before)
    with pytest.raises(EngineError, match="No space left"):
        write(engine, small_disk / "tiny.trtm")
    assert [each.read_bytes() for each in small_disk.iterdir()] == [before]


def test_an_interrupted_writing_leaves_nothing(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(engine, tmp_path / "tiny.trtm")
    assert not list(tmp_path.iterdir())


def test_a_damaged_engine_is_not_written_on(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a plana plan", b"A plana plan", 1))
    with pytest.raises(EngineError, match="sha256"):
        write(load(path), tmp_path / "copy.trtm")
    assert not (tmp_path / "copy.trtm").exists()
