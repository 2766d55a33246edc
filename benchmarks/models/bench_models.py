"""The benchmark of one subject, run by pytest-benchmark. `python -m benchmarks` runs the subjects one by one."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.models import weights
from benchmarks.models.contenders import ENTRIES
from benchmarks.models.race import Pace, Race
from benchmarks.models.subjects import Subject, subjects

PACES = {"quick": Pace(0.1, 2, 2), "standard": Pace(4.0, 5, 20), "full": Pace(8.0, 7, 40)}
STAGE_ALONE = ("rvm-mobilenetv3-1080p", "rvm-mobilenetv3-4k")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    chosen = subjects(config.getoption("selection"), config.getoption("device"))
    metafunc.parametrize("subject", chosen, ids=[each.name for each in chosen])


def test_model(benchmark: Any, subject: Subject, pytestconfig: pytest.Config) -> None:
    selection, device = pytestconfig.getoption("selection"), pytestconfig.getoption("device")
    names = contenders(subject, selection, device)
    pace = PACES[selection]
    with Race(weights.at_hand(subject), device, names, pace) as race:
        benchmark.group = subject.group
        benchmark.pedantic(race.round, rounds=1 if benchmark.disabled else race.rounds)
        if subject.group == "models":
            race.profile(pace.profiled)
        benchmark.extra_info.update(race.result())


def contenders(subject: Subject, selection: str, device: str) -> list[str]:
    """The contenders that can run a subject on this machine."""
    names = [name for name, entry in ENTRIES.items() if entry.can_run(device)]
    if subject.contenders:
        names = [name for name in names if name in subject.contenders]
    if subject.name not in STAGE_ALONE:
        names = [name for name in names if not name.startswith("network")]
    if selection == "standard" and device == "cpu":  # it compiles for minutes on two cores
        names = [name for name in names if name != "torch-compile"]
    return names
