"""An interrupt leaves the old file or the new one, and nothing else, wherever it comes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trtmatte.errors import EngineError
from trtmatte.support import files
from trtmatte.support.files import replacing

TRACED = {files.__file__, contextlib.__file__, __file__}


class Interrupt:
    """Raise KeyboardInterrupt before the opcode of this number, counted within the files `TRACED`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.came = False

    def __call__(self, frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._number -= 1
            if self._number < 0:  # the interpreter stops tracing now
                self.came = True
                raise KeyboardInterrupt
        return self


def write(path: Path, fails: bool) -> None:
    with replacing(path) as file:
        file.write(b"new ")
        if fails:
            raise OSError
        file.write(b"and whole")


def was_interrupted(path: Path, number: int, fails: bool) -> bool:
    interrupt = Interrupt(number)
    before = sys.gettrace()
    with contextlib.suppress(KeyboardInterrupt, EngineError):
        sys.settrace(interrupt)
        try:
            write(path, fails)
        finally:
            sys.settrace(before)
    return interrupt.came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fails", [False, True], ids=["written", "failing"])
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replaced"])
def test_an_interrupt_at_every_opcode(old: bytes | None, fails: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.trtm"
    seen: set[bytes | None] = set()
    was_interrupted(path, sys.maxsize, fails)  # Python 3.12 tells of opcodes from the second trace on
    for number in itertools.count():
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)
        came = was_interrupted(path, number, fails)
        if list(tmp_path.glob("*.part")):
            gc.collect()  # from Python 3.12 on, a frame of contextlib may hold the interrupt, and with it the file
        found = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
        assert set(found) <= {"a.trtm"}, f"after an interrupt at the opcode {number}"
        seen.add(found.get("a.trtm"))
        if not came:
            break
    assert number > 150
    assert seen == ({old} if fails else {old, b"new and whole"})


BEGUN = """
import os, sys
from pathlib import Path
from trtmatte.support.files import replacing
begun = replacing(Path(sys.argv[1]))
begun.__enter__()
"""


def run(code: str, folder: Path) -> list[str]:
    subprocess.run([sys.executable, "-c", code, str(folder / "a.trtm")], check=True, timeout=60)
    return sorted(each.name for each in folder.iterdir())


def test_a_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """Where an interrupt came before the file was in good hands, something may hold it until the end."""
    assert run(f"{BEGUN}begun.gen.gi_frame.f_locals['part'].myself = begun, begun.gen.gi_frame", tmp_path) == []


def test_a_fork_that_ends_takes_nothing_away(tmp_path: Path) -> None:
    code = f"{BEGUN}if os.fork() == 0:\n    sys.exit()\nos.wait()\nbegun.__exit__(None, None, None)"
    assert run(code, tmp_path) == ["a.trtm"]
