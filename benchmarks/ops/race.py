"""Time an op and its rivals round by round, so that all run under the same conditions."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.ops.place import Bind, Call, Host
from tests.ops import specification
from trtmatte import _core

ROUNDS = 30
SLOW = 0.05  # seconds
ROWS: list[tuple[str, str, int, float, float]] = []  # case, contestant, bytes, fastest and median seconds


class Times(dict[str, float]):
    """The fastest round of each contestant, in seconds. Noise only adds time, so ratios compare the fastest rounds."""

    def ratio(self, one: str, other: str) -> float:
        return self[one] / self[other]


def race(benchmark: Any, place: Any, case: str, bind: Bind, rivals: Mapping[str, Call], moved: int) -> Times:
    """pytest-benchmark times the op; before each of its rounds the rivals have theirs, slow ones before every fifth.

    `bind` returns the op's call on new buffers. `moved` is what is read plus what is written, in bytes; copies of as
    many are among the rivals. On a CUDA device they are the only ones.
    """
    rivals = {**(rivals if type(place) is Host else {}), **place.copies(moved)}
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    turns = itertools.count()

    def rivals_turn() -> None:
        turn = next(turns)
        for name, rival in rivals.items():
            if seconds[name] and seconds[name][-1] > SLOW and turn % 5:
                continue
            start = time.perf_counter()
            rival()
            seconds[name].append(time.perf_counter() - start)

    op, calls = place.repeated(bind, moved), place.calls(moved)
    benchmark.pedantic(op, setup=rivals_turn, rounds=1 if benchmark.disabled else ROUNDS, warmup_rounds=1)
    if benchmark.disabled:
        return Times()
    contestants = {"trtmatte": list(benchmark.stats.stats.data), **{name: all_[1:] for name, all_ in seconds.items()}}
    for name, data in contestants.items():
        fastest, median = min(data) / calls, float(np.median(data)) / calls
        ROWS.append((case, name, moved, fastest, median))
        benchmark.extra_info[name] = {"min": fastest, "median": median}
    benchmark.extra_info["bytes"] = moved
    return Times({name: min(data) / calls for name, data in contestants.items()})


def table() -> str:
    """A table of all rows so far. Ratios are relative to trtmatte's fastest round of the same case."""
    lines = [f"{'':44}{'MB':>8}{'min ms':>10}{'median ms':>11}{'GB/s':>8}{'ratio':>8}"]
    own = {case: fastest for case, name, _, fastest, _ in ROWS if name == "trtmatte"}
    for case, name, moved, fastest, median in ROWS:
        title = case if name == "trtmatte" else f"    {name}"
        lines.append(
            f"{title:44}{moved / 1e6:8.1f}{fastest * 1e3:10.2f}{median * 1e3:11.2f}"
            f"{moved / fastest / 1e9:8.1f}{fastest / own[case]:8.2f}"
        )
    return "\n".join(lines)


def body(op: str, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...] = (), **attributes: Any) -> Call:
    """The op's function body in ONNX Runtime. Returns its outputs by name."""
    session = specification.session(op, inputs, outputs, threads=_core.get_num_threads(), **attributes)
    names = [each.name for each in session.get_outputs()]
    return lambda: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def size_of(*arrays: np.ndarray) -> int:
    return sum(array.nbytes for array in arrays)
