"""The soak run sees what grows."""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools import soak


def filled() -> mmap.mmap:
    """Memory of its own, which is never a part of what other tests have given back."""
    memory = mmap.mmap(-1, 1 << 20)
    memory.write(bytes(1 << 20))
    return memory


@pytest.fixture
def leaks() -> Iterator[dict[str, Callable[[int], object]]]:
    kept: list[mmap.mmap] = []
    descriptors: list[int] = []
    stop, threads = threading.Event(), set(threading.enumerate())
    yield {
        "memory": lambda _: kept.append(filled()),
        "descriptors": lambda _: descriptors.append(os.open("/dev/null", os.O_RDONLY)),
        "threads": lambda _: threading.Thread(target=stop.wait).start(),
    }
    stop.set()
    for thread in set(threading.enumerate()) - threads:
        thread.join()  # the next test counts threads
    for each in descriptors:
        os.close(each)


@pytest.mark.parametrize("what", ["memory", "descriptors", "threads"])
def test_what_grows_is_seen(what: str, leaks: dict[str, Callable[[int], object]]) -> None:
    row = soak.soak(what, leaks[what], 80)
    assert row.grows
    assert getattr(row.after, what) > getattr(row.before, what)


def test_what_is_given_back_does_not_grow() -> None:
    def work(_: int) -> None:
        with open(os.devnull, "rb") as file:
            file.read()
        bytearray(1000)

    assert not soak.soak("steady", work, 200).grows


def test_the_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["--scale", "0.00002", "--frames", "40", "--out", str(tmp_path)]) in (0, 1)
    rows = json.loads((tmp_path / "soak.json").read_text())
    assert [row["phase"] for row in rows] == list(soak.COUNTS)
    assert "| real frames | 40 |" in (tmp_path / "soak.md").read_text()
    assert capsys.readouterr().out.count("→") == 3 * len(rows)
