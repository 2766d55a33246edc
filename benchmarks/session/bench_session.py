"""How much faster than what people write: uint8 frames to uint8 composites.

Each contender lives in a process of its own. They take turns of a few frames, so that whatever else the machine does
hits all alike; the ratios are medians over the turns.

    python -m benchmarks.session.bench_session [rvm-hd …] [--only openvino …] [--turns 15] [--frames 4]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.session.contenders import SUBJECTS


class Runner:
    """A contender in a process of its own, which works when it is told to."""

    def __init__(self, name: str, subject: str) -> None:
        command = [sys.executable, "-m", "benchmarks.session.bench_session", subject, "--serve", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.turn(3)

    def turn(self, frames: int) -> float:
        """Milliseconds a frame."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(frames, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(name: str, subject: str) -> None:
    about, contenders = SUBJECTS[subject]
    matte = contenders[name](about)
    frames = [about.picture(seed) for seed in range(2)]
    for line in sys.stdin:
        count = int(line)
        began = perf_counter()
        for index in range(count):
            matte(frames[index % 2])
        print((perf_counter() - began) / count * 1000, flush=True)


def race(names: list[str], subject: str, turns: int, frames: int) -> dict[str, Any]:
    runners = {name: Runner(name, subject) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names if turn % 2 else reversed(names):
            times[name].append(runners[name].turn(frames))
    for runner in runners.values():
        runner.end()
    return {"subject": subject, "load": os.getloadavg()[0], "ms": times}


def report(result: dict[str, Any]) -> None:
    times = {name: np.array(each) for name, each in result["ms"].items()}
    print(f"{result['subject']}, load {result['load']:.1f}")
    for name, each in times.items():
        ratios = "  ".join(f"{other} {np.median(times[other] / each):5.2f}×" for other in times if other != name)
        print(f"  {name:17} {np.median(each):7.1f} ms, best {each.min():7.1f}   {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; left out: all")
    parser.add_argument("--only", nargs="*", metavar="CONTENDER", help="left out: all")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.subjects[0])
        return
    for subject in options.subjects or SUBJECTS:
        names = [name for name in SUBJECTS[subject][1] if not options.only or name in options.only]
        result = race(names, subject, options.turns, options.frames)
        print(json.dumps(result)) if options.json else report(result)


if __name__ == "__main__":
    main()
