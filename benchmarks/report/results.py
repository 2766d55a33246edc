"""Measurements, read back: medians, quartiles, and ratios taken within rounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.models.subjects import Subject

_WARM_UP: Final = 1  # frames of a turn that are not counted


class Spread(NamedTuple):
    """A median and its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(*(float(each) for each in np.percentile(values, (25, 50, 75))))


@dataclass(frozen=True)
class Race:
    """The results of one subject."""

    facts: dict[str, Any]

    @cached_property
    def subject(self) -> Subject:
        return Subject.from_json(self.facts["subject"])

    @property
    def questions(self) -> list[str]:
        return [name for name in self.subject.questions if self.names(name)]

    @property
    def failed(self) -> dict[str, str]:
        failed: dict[str, str] = self.facts["failed"]
        return failed

    def contender(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.facts["contenders"][name]
        return facts

    def names(self, question: str) -> list[str]:
        """The names of the contenders, in the order of `ENTRIES` and of the tables."""
        from benchmarks.models.contenders import ENTRIES

        measured = self.facts["ms"].get(question, {})
        return [name for name in ENTRIES if name in measured]

    def frames(self, question: str, name: str) -> list[float]:
        """The milliseconds of all counted frames. With several streams, those of a call divided by their number."""
        return [ms for turn in self._turns(question, name) for ms in turn]

    def percentiles(self, question: str, name: str) -> tuple[float, float, float]:
        p50, p95, p99 = np.percentile(self.frames(question, name), (50, 95, 99))
        return float(p50), float(p95), float(p99)

    def median(self, question: str, name: str) -> float:
        return Spread.of(self._rounds(question, name)).median

    def ratio(self, question: str, name: str, than: str) -> Spread:
        """The time of `name` relative to `than`, computed within rounds."""
        pairs = zip(self._rounds(question, name), self._rounds(question, than), strict=True)
        return Spread.of([one / other for one, other in pairs])

    def energy(self, question: str, name: str) -> float | None:
        """Joules per frame."""
        joules = self.facts["energy"].get(question, {}).get(name)
        return float(np.median(joules)) if joules else None

    def _rounds(self, question: str, name: str) -> list[float]:
        return [float(np.median(turn)) for turn in self._turns(question, name)]

    def _turns(self, question: str, name: str) -> list[list[float]]:
        together = self.subject.batch * self.subject.streams
        turns = self.facts["ms"][question][name]
        return [[ms / together for ms in turn[_WARM_UP:] or turn] for turn in turns]


@dataclass(frozen=True)
class Results:
    """The results of one machine."""

    folder: Path
    machine: dict[str, Any]
    commit: str
    races: dict[str, Race]
    ops: dict[str, Any] | None

    @property
    def others(self) -> float:
        """The largest share of the processors that other programs used in a race."""
        return max((race.facts["others"] for race in self.races.values()), default=0.0)

    def group(self, name: str) -> list[Race]:
        return [race for race in self.races.values() if race.subject.group == name]


def read(folder: Path) -> Results:
    models, ops = (
        json.loads(path.read_text()) if (path := folder / f"{name}.json").is_file() else None
        for name in ("models", "ops")
    )
    measured = models or ops
    if measured is None:
        raise FileNotFoundError(f"there are no results in {folder}: python -m benchmarks makes them")
    races = [Race(each["extra_info"]) for each in models["benchmarks"]] if models else []
    commits = [measured["commit_info"]["id"], *(race.facts["commit"] for race in races if "commit" in race.facts)]
    return Results(
        folder=folder,
        machine=measured["machine_info"],
        commit=", ".join(dict.fromkeys(commits)),
        races={race.subject.name: race for race in races},
        ops=ops,
    )
