"""`pytest benchmarks/ops`: each op is checked against its body, then timed against it, all in one run.

Two threads for everybody: the ops, ONNX Runtime, memcpy. What is timed is one call with all arrays at hand; what the
bodies spend on allocating their outputs belongs to them, as they cannot do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import trtmatte
from benchmarks.ops.race import ROWS, THREADS, table
from trtmatte import _core


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if file_path.match("bench_*.py") and not parent.session.isinitpath(file_path):  # those pytest collects itself
        return pytest.Module.from_parent(parent, path=file_path)
    return None


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = trtmatte.get_num_threads()
    trtmatte.set_num_threads(THREADS)
    yield
    trtmatte.set_num_threads(before)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info["trtmatte"] = {
        "threads": THREADS,
        "processors": _core.available_processors(),
        "instruction_set": _core.instruction_set(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("ops")
        terminalreporter.write_line(table())
