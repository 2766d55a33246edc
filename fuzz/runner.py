"""Runs a target in child processes, restarts them, and keeps what they find."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any, Final

from fuzz.child import ACCEPTED, DESCRIPTORS, ENDED, LOADED, MEMORY, NUMBER, REFUSED, Problem, Work, shrink, usage, work
from fuzz.target import Target

__all__ = ["Limits", "Result", "run"]

_SPAWN: Final = multiprocessing.get_context("spawn")
_FOREVER: Final = 1 << 60
_MOST_RESTARTS: Final = 200
_POLL: Final = 0.05
_SHOW: Final = 10.0
_LOG_END: Final = 8000


@dataclass(frozen=True)
class Limits:
    """What an input may take before it is a finding."""

    seconds: float = 20.0
    loading: float = 180.0
    memory: int = 1 << 30
    """More than after loading."""
    descriptors: int = 200
    """More than after loading."""
    address_space: int = 16 << 30
    shrinking: float = 10.0


@dataclass
class Result:
    target: str
    about: str
    seed: int
    tries: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: Counter[str] = field(default_factory=Counter)
    """How often each kind came."""
    problems: dict[str, Problem] = field(default_factory=dict)
    """The first of each cause."""

    @property
    def rate(self) -> float:
        return self.tries / self.seconds if self.seconds else 0.0

    @property
    def found(self) -> int:
        return sum(self.findings.values())

    def add(self, problem: Problem) -> None:
        self.findings[problem.kind] += 1
        self.tries += problem.number >= 0
        self.problems.setdefault(f"{problem.kind} {problem.where}", problem)

    def count(self, accepted: int, refused: int) -> None:
        self.accepted += accepted
        self.refused += refused
        self.tries += accepted + refused


class _Child:
    """One process, and what it has told so far."""

    def __init__(self, order: Work, limits: Limits, log: Path) -> None:
        self._order, self._limits, self._log = order, limits, log
        log.touch()
        self._state: Any = RawArray("Q", 7)
        self._state[NUMBER] = order.numbers.start
        self.pipe, theirs = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=work, args=(order, self._state, theirs, log), daemon=True)
        self.process.start()
        theirs.close()
        self.done = False
        self._changed, self._seen = time.monotonic(), (-1, -1)

    @property
    def counts(self) -> tuple[int, int]:
        return int(self._state[ACCEPTED]), int(self._state[REFUSED])

    def told(self) -> Iterator[Problem]:
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                yield self.pipe.recv()

    def look(self) -> Problem | None:
        """Return what is wrong with the process as a whole. `done` is True if it has ended or was ended."""
        if not self.process.is_alive():
            self.done = True
            code = self.process.exitcode or 0
            return self._ended("crash", _name(code)) if code else None
        now, seen = time.monotonic(), (int(self._state[NUMBER]), int(self._state[LOADED]))
        if seen != self._seen:
            self._seen, self._changed = seen, now
        if now - self._changed > (self._limits.seconds if self._loaded else self._limits.loading):
            os.kill(self._pid, signal.SIGUSR1)  # it writes where it is
            time.sleep(1)
            return self._ended("hang")
        return self._grown() if self._loaded and not self._state[ENDED] else None

    def rest(self) -> _Child | None:
        """A new process for the inputs that this one left. None if there are none, or if not even loading works."""
        numbers = self._order.numbers
        left = numbers[numbers.index(int(self._state[NUMBER])) + 1 :]
        if not self._loaded or not left or time.monotonic() > self._order.until:
            return None
        return _Child(replace(self._order, numbers=left), self._limits, self._log)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.done = True

    @property
    def _loaded(self) -> bool:
        return bool(self._state[LOADED])

    @property
    def _pid(self) -> int:
        return self.process.pid or 0

    def _grown(self) -> Problem | None:
        used = usage(self._pid)
        if used is None:
            return None
        memory, descriptors = used[0] - int(self._state[MEMORY]), used[1] - int(self._state[DESCRIPTORS])
        if memory > self._limits.memory:
            return self._ended("memory", "grows", f"{memory >> 20} MiB more than after loading")
        if descriptors > self._limits.descriptors:
            return self._ended("memory", "descriptors", f"{descriptors} descriptors more than after loading")
        return None

    def _ended(self, kind: str, why: str = "", text: str = "") -> Problem:
        self.end()
        log = self._log.read_bytes()[-_LOG_END:].decode(errors="replace")
        place = re.search(r'File "(?:.*/)?([^"]+)", line (\d+)', log.rpartition("Current thread")[2])
        where = " ".join(filter(None, (why, place and f"{place[1]}:{place[2]}")))
        number = int(self._state[NUMBER]) if self._loaded else -1
        return Problem(kind if self._loaded else "loading", where, f"{kind} {why}\n{text}\n{log}", number)


def run(
    target: str,
    *,
    tries: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    jobs: int = 1,
    out: Path,
    limits: Limits = Limits(),
    tell: Callable[[str], object] = lambda line: None,
) -> Result:
    """Attack until there were so many tries or seconds. Each cause becomes an input and a traceback in `out`/<target>.

    The same seed gives the same inputs, whatever the number of jobs is.
    """
    loaded = Target(target)
    folder = out / loaded.name
    folder.mkdir(parents=True, exist_ok=True)
    result = Result(loaded.name, loaded.about, seed)
    start = time.monotonic()
    order = Work(target, seed, range(0), start + (seconds or _FOREVER), limits.address_space)
    parts = [range(job, _FOREVER if tries is None else tries, jobs) for job in range(jobs)]
    children = [
        _Child(replace(order, numbers=numbers), limits, folder / f"child-{job}.log")
        for job, numbers in enumerate(parts)
        if numbers
    ]
    try:
        _watch(children, result, tell)
    finally:
        for child in children:
            child.end()
            result.count(*child.counts)
        result.seconds = time.monotonic() - start
        for problem in result.problems.values():
            _keep(problem, loaded, order, limits, folder)
    return result


def _watch(children: list[_Child], result: Result, tell: Callable[[str], object]) -> None:
    restarts, shown = 0, time.monotonic()
    while children:
        connection.wait([each for child in children for each in (child.pipe, child.process.sentinel)], _POLL)
        for child in list(children):
            problem = child.look()
            for each in (*child.told(), *([problem] if problem else [])):
                result.add(each)
            if not child.done:
                continue
            children.remove(child)
            result.count(*child.counts)
            rest = child.rest() if problem and restarts < _MOST_RESTARTS else None
            if rest is not None:
                restarts += 1
                children.append(rest)
        if time.monotonic() - shown > _SHOW:
            shown = time.monotonic()
            so_far = result.tries + sum(sum(child.counts) for child in children)
            tell(f"{result.target}: {so_far:,} tries, {result.found} findings")


def _keep(problem: Problem, target: Target, order: Work, limits: Limits, folder: Path) -> None:
    """Write the input, as small as it can be had, and what happened."""
    name = f"{problem.kind}-{hashlib.sha256(problem.where.encode()).hexdigest()[:8]}"
    (folder / f"{name}.txt").write_text(f"seed {order.seed}, input {problem.number}\n{problem.text}")
    if problem.number < 0:
        return
    data = target.input(order.seed, problem.number)
    if problem.kind in ("wrong", "error") and limits.shrinking:
        data = _shrunk(data, problem, replace(order, until=time.monotonic() + limits.shrinking), folder)
    (folder / name).write_bytes(data)


def _shrunk(data: bytes, problem: Problem, order: Work, folder: Path) -> bytes:
    pipe, theirs = _SPAWN.Pipe(duplex=False)
    log = folder / "shrinking.log"
    process = _SPAWN.Process(target=shrink, args=(order, data, problem.where, theirs, log), daemon=True)
    process.start()
    theirs.close()
    with contextlib.suppress(EOFError, OSError):
        while pipe.poll(max(0.0, order.until + _SHOW - time.monotonic())):
            data = pipe.recv()
    process.kill()
    process.join()
    return data


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
