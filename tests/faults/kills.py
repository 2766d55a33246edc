"""`python -m tests.faults.kills [SCENARIO…]`: kill -9 at many moments of a command; its files are whole or absent."""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.sweep import Report, enter, status_of

__all__ = ["kill_often"]

COMMANDS: Final = ("build-again", "video", "folder", "image-again")

_OUT: Final = Path("out/kills")
_LONG: Final = 600.0


def kill_often(scenario: Scenario, folder: Path, times: int) -> Report:
    """Kill at moments that are spread over the time that the command takes. After each, the next run succeeds."""
    scenario.prepare(folder)
    scenario.reset(folder)
    inputs = {path: path.read_bytes() for path in (folder / "in").rglob("*") if path.is_file()}
    start = time.monotonic()
    assert _run(scenario, folder, _LONG) == 0
    whole = time.monotonic() - start
    report = Report(operations=times)
    for number in range(times):
        scenario.reset(folder)
        status = _run(scenario, folder, whole * (number + 0.5) / times)
        report.runs += 1
        report.refused += status == -signal.SIGKILL
        wrong = scenario.check(folder, done=status == 0, killed=True)
        if _run(scenario, folder, _LONG) != 0:
            wrong.append("the next run failed")
        wrong += scenario.check(folder, done=True)
        wrong += [f"changed {path.name}" for path, data in inputs.items() if path.read_bytes() != data]
        report.wrong += [f"kill {number}: {each}" for each in wrong]
    return report


def _run(scenario: Scenario, folder: Path, seconds: float) -> int:
    """Run in a fork for so long. Returns its exit status, or a negative signal."""
    child = os.fork()
    if child == 0:
        enter(folder)
        os._exit(status_of(scenario.command))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.0005, seconds / 10))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 nothing is wrong, 1 something is."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description="Kill commands at any moment.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: {', '.join(COMMANDS)}")
    parser.add_argument("--times", type=int, default=200, metavar="N", help="kills of each (default: 200)")
    parser.add_argument("--out", type=Path, default=_OUT, metavar="DIR", help=f"folder of the counts (default: {_OUT})")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name in args.scenarios or COMMANDS:
        with tempfile.TemporaryDirectory(prefix="kills-") as place:
            report = kill_often(SCENARIOS[name], Path(place).resolve() / name, args.times)
        (args.out / f"{name}.json").write_text(json.dumps(vars(report), indent=1) + "\n")
        print(
            f"{name}: {report.runs} runs, {report.refused} killed, {len(report.wrong)} wrong",
            *report.wrong[:20],
            sep="\n  ",
            flush=True,
        )
        wrong += len(report.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
