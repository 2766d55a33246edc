"""Files that several processes share."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtmatte.errors import EngineError
from trtmatte.support.files import alone, replacing

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
