"""Files that several processes share."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtmatte.errors import EngineError, OutputError
from trtmatte.support.files import alone, replacing, require_writable

WRITE = """
import sys, time
from pathlib import Path
from trtmatte.support.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path: Path):
    """Another process that is half through with the file."""
    running = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / "a[1].trtm")], stdout=subprocess.PIPE)
    running.stdout.readline()
    yield running
    running.kill()
    running.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def test_nothing_is_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.trtm"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert (path.read_bytes(), names(tmp_path)) == (b"one", ["a.trtm"])


def test_what_a_killed_process_left_is_removed(writer: subprocess.Popen, tmp_path: Path) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (remains,) = names(tmp_path)
    assert remains.startswith(".a[1].trtm.")
    write(tmp_path / "b.trtm", b"another name")
    assert remains in names(tmp_path)
    write(tmp_path / "a[1].trtm", b"whole")
    assert names(tmp_path) == ["a[1].trtm", "b.trtm"]


def test_what_another_process_is_writing_is_left_alone(writer: subprocess.Popen, tmp_path: Path) -> None:
    (part,) = names(tmp_path)
    write(tmp_path / "a[1].trtm", b"whole")
    assert names(tmp_path) == [part, "a[1].trtm"]
    assert (tmp_path / part).read_bytes() == b"half"


def write_often(path: str) -> None:
    for number in range(100):
        write(Path(path), bytes([number]) * 1000)


def test_many_writers_end_with_one_good_file(tmp_path: Path) -> None:
    """Who removes remains never takes away what another one has only just begun."""
    path = tmp_path / "a.trtm"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_often, args=(str(path),)) for _ in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
    assert [each.exitcode for each in writers] == [0] * 4
    assert path.read_bytes() == b"c" * 1000
    assert names(tmp_path) == ["a.trtm"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError(28, "No space left on device")])
def test_failing_leaves_what_was_there(error, tmp_path: Path) -> None:
    path = tmp_path / "a.trtm"
    write(path, b"before")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"after")
            raise error

    with pytest.raises(EngineError if isinstance(error, OSError) else error):
        fail()
    assert (path.read_bytes(), names(tmp_path)) == (b"before", ["a.trtm"])


def test_a_process_that_is_alone(tmp_path: Path) -> None:
    lock = tmp_path / "l"
    code = (
        f"from pathlib import Path; from trtmatte.support.files import alone\nwith alone(Path({str(lock)!r})): print(1)"
    )
    with alone(lock):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        time.sleep(0.5)
        assert other.poll() is None
    assert other.communicate(timeout=30)[0].strip() == b"1"


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with alone(tmp_path / "l"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with alone(tmp_path / "l"):
        pass


# ---------------------------------------------------------------------------------------------------------------------
# What others put in the way


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o444, 0o666], ids=oct)
def test_a_file_keeps_its_permissions(permissions: int, tmp_path: Path) -> None:
    path = tmp_path / "a.trtm"
    path.write_bytes(b"old")
    path.chmod(permissions)
    write(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", permissions)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.trtm", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.trtm") == 0o640


@pytest.mark.parametrize("old", [0o600, 0o644, None])
def test_a_file_is_private_while_it_is_written(old: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.trtm"
    if old is not None:
        path.touch(old)
    with replacing(path):
        (part,) = set(tmp_path.iterdir()) - {path}
        assert mode(part) == 0o600


def test_a_part_does_not_follow_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where somebody guessed its name."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0123")
    (tmp_path / ".a.trtm.0123.part").symlink_to(victim)
    with pytest.raises(EngineError, match="cannot be written: File exists"):
        write(tmp_path / "a.trtm", b"new")
    assert victim.read_bytes() == b"precious"


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.trtm"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)
    write(path, b"new")
    assert (victim.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"precious", b"new", False)


def special(path: Path, kind: str) -> Path:
    """Something that is no file, or a link to it."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        path.symlink_to("/dev/null")
    return path


KINDS = {"fifo": "a FIFO", "socket": "a socket", "device": "a device"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    path = special(tmp_path / "a", kind)
    expected = f"a cannot be written: it is {KINDS[kind]}; expected the name of a file"
    with pytest.raises(EngineError, match=expected):
        write(path, b"new")
    with pytest.raises(EngineError, match=expected):
        require_writable(path, "engine.trtm")
    assert not path.is_file()
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_remains_that_are_no_files_are_left_alone(kind: str, tmp_path: Path) -> None:
    special(tmp_path / ".a.trtm.0123.part", kind)
    write(tmp_path / "a.trtm", b"new")
    assert names(tmp_path) == [".a.trtm.0123.part", "a.trtm"]


@pytest.mark.parametrize(("kind", "why"), [("fifo", "it is a FIFO, expected a file"), ("device", "symbolic links")])
def test_a_lock_is_a_file(kind: str, why: str, tmp_path: Path) -> None:
    lock = special(tmp_path / "l", kind)
    with pytest.raises(EngineError, match=rf"the lock .*/l cannot be used: .*{why}.*; remove it"), alone(lock):
        pass


def test_a_lock_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="cannot be used"), alone(tmp_path / "l"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_an_error_of_ours_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^its own words$"), replacing(tmp_path / "a"):
        raise OutputError("its own words")
    assert names(tmp_path) == []


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_longest_name(letter: str, tmp_path: Path) -> None:
    """Its temporary name is as long, and does not hide what a killed process left."""
    name = (letter * 255).encode()[:250].decode(errors="ignore") + ".trtm"
    (tmp_path / f".{letter * (240 // len(letter.encode()))}.0123abcd.part").touch()
    write(tmp_path / name, b"whole")
    assert names(tmp_path) == [name]
    with pytest.raises(EngineError, match="File name too long"):
        write(tmp_path / f"{name}x", b"whole")
    assert names(tmp_path) == [name]
