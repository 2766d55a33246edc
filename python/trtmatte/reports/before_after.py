"""Before and after: one model as its users run it and as trtmatte runs it, timed by turns on this machine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np

from trtmatte.backends import library
from trtmatte.errors import BackendError, SettingError

__all__ = ["BeforeAfter", "Percentiles", "Side", "describe", "onnxruntime", "race"]

_TURNS: Final = 5
_WARM_UP: Final = 2  # runs of each side before the first turn

Call = Callable[[int], object]
"""Runs once; the number chooses the input."""


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds of a run."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles:
        return cls(*(float(each) * 1000 for each in np.percentile(seconds, (50, 90, 99))))


@dataclass(frozen=True)
class Side:
    """One way to run the model: the library, and what its times hold."""

    runs_on: str
    holds: str
    ms: Percentiles


@dataclass(frozen=True)
class BeforeAfter:
    """`ratio` is how many times longer `before` takes: the median over the turns, in each of which both ran."""

    model: str
    about: str
    runs: int  # of each side
    before: Side
    after: Side
    ratio: float
    difference: float | None  # the largest between the outputs; None where both resample in ways of their own

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def onnxruntime() -> Any:
    """The module onnxruntime as its users import it."""
    if (reason := library.unavailable_reason("ONNX Runtime", "onnxruntime")) is not None:
        raise BackendError(reason)
    return importlib.import_module("onnxruntime")


def race(before: Call, after: Call, runs: int) -> tuple[Percentiles, Percentiles, float]:
    """Time both by turns, so that other load on the machine meets both. The first run of a turn is not counted."""
    if runs < 1:
        raise SettingError(f"frames is {runs}; expected the number of runs to time, 1 or more")
    for call in (before, after):
        for number in range(_WARM_UP):
            call(number)
    turns = min(_TURNS, runs)
    times: tuple[list[list[float]], list[list[float]]] = ([], [])
    for turn in range(turns):
        count = runs // turns + (turn < runs % turns)
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        for side in order:
            times[side].append(_turn((before, after)[side], count))
    ratios = [np.median(one) / np.median(other) for one, other in zip(*times, strict=True)]
    first, second = (Percentiles.of([each for turn in side for each in turn]) for side in times)
    return first, second, float(np.median(ratios))


def _turn(call: Call, count: int) -> list[float]:
    call(0)
    seconds = []
    for number in range(count):
        began = perf_counter()
        call(number)
        seconds.append(perf_counter() - began)
    return seconds


def describe(found: BeforeAfter) -> str:
    """Describe the result as text: what was timed, both sides, and the ratio."""
    lines = [found.about, "", f"{'':8}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}"]
    for name, side in (("before", found.before), ("after", found.after)):
        ms = side.ms
        lines.append(f"{name:8}{ms.p50:10.2f}{ms.p90:10.2f}{ms.p99:10.2f}  {side.runs_on}")
    faster = f"{found.ratio:.2f} times as fast" if found.ratio >= 1 else f"{1 / found.ratio:.2f} times slower"
    lines += [
        "",
        f"after is {faster}, the median of turns in which both ran; {found.runs} runs each",
        f"before: {found.before.holds}",
        f"after:  {found.after.holds}",
    ]
    if found.difference is not None:
        lines.append(f"the outputs differ by {found.difference:.2g} at most")
    return "\n".join(lines)
