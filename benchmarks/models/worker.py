"""A contender in a process of its own, which works when it is told to: a line of JSON in, a line of JSON out.

Runtimes with pools of threads spoil each other within one process, and whoever waits for his turn must not spin: the
race stops this process in between (SIGSTOP), and the time on the processor that it used meanwhile is reported.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.contenders import ENTRIES, REFERENCE
from benchmarks.models.subjects import Subject

_PR_SET_PDEATHSIG = 1
PICTURES = 3  # different ones, which go round
CHECKED = 2  # frames before the one that is compared, so that states count


class Worker:
    def __init__(self, name: str, subject: Subject, device: str, folder: Path) -> None:
        entry = REFERENCE if name == "reference" else ENTRIES[name]
        self._contender = entry.open(subject, device, folder)
        self._given: dict[str, list[Any]] = {}

    def facts(self) -> dict[str, Any]:
        """Facts about the contender, and its peak memory so far."""
        from trtmatte.reports.profile import peak_memory

        return {
            **self._contender.facts(),
            "questions": list(self._contender.questions),
            "host_memory": peak_memory(),
        }

    def first(self) -> dict[str, Any]:
        return self.turn("frame", 1)

    def check(self, question: str, to: str) -> dict[str, Any]:
        """Run a few frames, save the outputs of the last one, and return the time of the later ones."""
        contender = self._contender
        contender.reset()
        seconds = []
        result = None
        for index in range(CHECKED + 1):
            result, took = self._timed(question, index)
            seconds.append(took)
        np.savez(to, **contender.got(question, result))
        contender.reset()
        return {"ms": min(seconds) * 1000}

    def turn(self, question: str, frames: int) -> dict[str, Any]:
        return {"ms": [round(self._timed(question, index)[1] * 1000, 4) for index in range(frames)]}

    def profile(self, frames: int) -> dict[str, Any]:
        profiled: dict[str, Any] = self._contender.profile(frames)
        return profiled

    def _timed(self, question: str, index: int) -> tuple[Any, float]:
        if question not in self._given:
            self._given[question] = [self._contender.given(question, seed) for seed in range(PICTURES)]
        given = self._given[question][index % PICTURES]
        began = time.perf_counter()
        result = self._contender.run(question, given)
        self._contender.wait()
        return result, time.perf_counter() - began


def main() -> None:
    _end_with_parent()
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not print among the answers
    worker = Worker(order["name"], Subject.from_json(order["subject"]), order["device"], Path(order["folder"]))

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    answer({"load": time.time() - order["began"]})
    used = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - used
        command = json.loads(line)
        found = getattr(worker, command.pop("do"))(**command)
        used = time.process_time()
        answer({**found, "idle": idle, "work": used})


def _end_with_parent() -> None:
    """End this process with its parent, even if it is stopped when the race is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
