"""`python -m tests.faults [SCENARIO…]`: every operation fails in turn; the counts, and what went wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.faults.sweep import ALLOCATIONS, ERRORS, Outcome, Plan, Report, attempt, compiled, preloaded, sweep

_OUT: Final = Path("out/faults")
_ALLOCATIONS: Final = "allocations"
_DROPPED: Final = "PyAV library exception being dropped:"
"""PyAV's note, with a traceback, where an output fails once more. Those of several threads mix."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 nothing is wrong, 1 something is."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = _parser().parse_args(given)
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        folder = Path(place).resolve()
        if "faults.so" not in os.environ.get("LD_PRELOAD", ""):
            return preloaded(compiled(folder), given).returncode
        from tests.faults.scenarios import SCENARIOS

        args.out.mkdir(parents=True, exist_ok=True)
        wrong = 0
        for name in args.scenarios or (*SCENARIOS, _ALLOCATIONS):
            report = _swept(name, args, folder / name)
            (args.out / f"{name}.json").write_text(json.dumps(vars(report), indent=1) + "\n")
            wrong += len(report.wrong)
    return 1 if wrong else 0


def _swept(name: str, args: argparse.Namespace, folder: Path) -> Report:
    folder.mkdir()
    total = Report()
    for plan in _plans(name, args):
        report = _allocations(folder, plan) if name == _ALLOCATIONS else _command(name, folder, plan)
        total.operations = max(total.operations, report.operations)
        total.runs += report.runs
        total.refused += report.refused
        total.wrong += report.wrong
    counts = f"{total.operations} operations, {total.runs} runs, {total.refused} ended with an error"
    print(f"{name}: {counts}, {len(total.wrong)} wrong", *total.wrong[: args.show], sep="\n  ", flush=True)
    return total


def _plans(name: str, args: argparse.Namespace) -> Iterator[Plan]:
    if name == _ALLOCATIONS:
        for after in args.after:
            yield Plan(ALLOCATIONS, "ENOMEM", bool(after), args.step, args.first)
        return
    for error in args.errors:
        for after in args.after if error != "short" else [True]:
            yield Plan(error=error, after=bool(after), step=args.step, first=args.first)


def _command(name: str, folder: Path, plan: Plan) -> Report:
    from tests.faults.scenarios import SCENARIOS

    scenario = SCENARIOS[name]
    if not (folder / "in").exists():
        scenario.prepare(folder)
        scenario.reset(folder)
        if scenario.caches:
            assert attempt(folder, scenario.command).status == 0
            scenario.fill_cache(folder)
    inputs = {path: path.read_bytes() for path in (folder / "in").rglob("*") if path.is_file()}

    def check(outcome: Outcome) -> Iterator[str]:
        yield from told_wrongly(outcome)
        yield from scenario.check(folder, done=outcome.status == 0)
        yield from (f"changed {path.name}" for path, data in inputs.items() if path.read_bytes() != data)
        if outcome.status != 0:  # and the next run is not disturbed by what this one left
            again = attempt(folder, scenario.command)
            yield from [f"the next run failed: {again.told}"] if again.status else scenario.check(folder, done=True)

    return sweep(folder, scenario.command, lambda: scenario.reset(folder), check, plan)


def told_wrongly(outcome: Outcome) -> Iterator[str]:
    """A status that is not 0 comes with an error of ours, in one line for each file that could not be written."""
    lines = outcome.told.splitlines()
    lines = lines[-1:] if _DROPPED in lines else lines
    if outcome.status < 0:
        yield outcome.told
    elif outcome.status != 0 and (not lines or not all(line.startswith("trtmatte") for line in lines)):
        yield f"ended with {outcome.status} and told {' / '.join(lines)!r}"
    yield from (f"leaked {place}" for place in outcome.leaked)


def _allocations(folder: Path, plan: Plan) -> Report:
    """A session without memory: an error, after which sessions work as before."""
    import numpy as np

    from tests.faults.scenarios import session
    from trtmatte.errors import TrtmatteError

    place = folder / "expected.npy"
    if not place.exists():
        attempt(folder, lambda: np.save(place, session()) or 0)
    expected = np.load(place)

    def run() -> int:
        try:
            return 0 if np.array_equal(session(), expected) else 3
        except (MemoryError, TrtmatteError) as error:
            print(f"trtmatte: {error}", file=sys.stderr)
            return 1

    def again() -> int:
        return 0 if np.array_equal(session(), expected) else 3

    def check(outcome: Outcome) -> Iterator[str]:
        yield from told_wrongly(outcome)
        if outcome.status == 3:
            yield "gave another result"
        if outcome.then:
            yield f"gave another result afterwards ({outcome.then})"

    return sweep(folder, run, lambda: None, check, plan, again)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Make every operation fail in turn.")
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help="default: all of tests/faults/scenarios.py, and allocations")
    errors = [name for name in ERRORS if name != "ENOMEM"]
    add("--errors", nargs="+", choices=errors, default=errors, help="how they fail (default: in every way)")
    add("--after", nargs="+", type=int, choices=(0, 1), default=[0, 1], help="0: one fails; 1: all later ones, too")
    add("--step", type=int, default=1, metavar="N", help="every Nth operation (default: 1)")
    add("--first", type=int, default=0, metavar="N", help="begin with this operation (default: 0)")
    add("--show", type=int, default=50, metavar="N", help="print so many of what is wrong (default: 50)")
    add("--out", type=Path, default=_OUT, metavar="DIR", help=f"folder of the counts (default: {_OUT})")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
