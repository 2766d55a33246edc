"""The facts recorded with every measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--selection", choices=("quick", "standard", "full"), default="standard", help="of the subjects")
    parser.addoption("--device", default="cpu", help="cpu or cuda")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if file_path.match("bench_*.py") and not parent.session.isinitpath(file_path):  # those pytest collects itself
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Record our own facts about the machine, without the host's name."""
    machine_info.clear()
    machine_info.update(machine.facts(config.getoption("device")))


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    commit_info.clear()
    commit_info["id"] = machine.commit()
