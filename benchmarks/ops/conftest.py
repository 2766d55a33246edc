"""Each op is checked against its body, then timed against it, all in one run: `python -m benchmarks --only ops`.

All threads for everybody: the ops, ONNX Runtime, copies. What is timed is one call with all arrays at hand; what the
bodies spend on allocating their outputs belongs to them, as they cannot do without.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.ops.place import place as place_of
from benchmarks.ops.race import ROWS, table


@pytest.fixture
def place(pytestconfig: pytest.Config) -> Any:
    return place_of(pytestconfig.getoption("device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("ops")
        terminalreporter.write_line(table())
