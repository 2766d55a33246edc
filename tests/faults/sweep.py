"""Runs a scenario again and again; each time another operation fails. A fork for each, so that nothing is loaded twice.

The library of tests/native/faults must be preloaded; `preloaded` starts a process with it.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["ERRORS", "Outcome", "Plan", "Report", "attempt", "compiled", "enter", "preloaded", "status_of", "sweep"]

SHORT: Final = -1
ERRORS: Final[Mapping[str, int]] = {
    **{name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EMFILE", "ENOMEM")},
    "short": SHORT,
}
FILES, ALLOCATIONS = 1, 2

_SOURCES: Final = Path(__file__).parents[1] / "native" / "faults"
_PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Plan:
    """Which operations fail, and how."""

    mode: int = FILES
    error: str = "EIO"
    after: bool = False
    """All operations after the chosen one fail as well."""
    step: int = 1
    first: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    operations: int = 0
    failed: str = ""
    """The operation; empty if the run ended before it came."""
    told: str = ""
    leaked: tuple[str, ...] = ()
    then: int = 0


@dataclass
class Report:
    operations: int = 0
    runs: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def compiled(folder: Path) -> Path:
    """Compile the library that makes operations fail."""
    library = folder / "faults.so"
    sources = map(str, sorted(_SOURCES.glob("*.cpp")))
    options = ["-std=c++17", "-O1", "-fPIC", "-shared"]
    subprocess.run([os.environ.get("CXX", "g++"), *options, *sources, "-o", str(library), "-ldl"], check=True)
    return library


def preloaded(library: Path, arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.faults` with the library."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(command, env=environment, text=True, check=False, **options)


def sweep(
    folder: Path,
    run: Callable[[], int],
    reset: Callable[[], None],
    check: Callable[[Outcome], Iterable[str]],
    plan: Plan,
    then: Callable[[], int] | None = None,
) -> Report:
    """Run until the chosen operation does not come any more. `then` runs after that in the same process."""
    report = Report()
    number = plan.first
    gc.freeze()  # so that a fork shares what is here, even when it collects
    while True:
        reset()
        outcome = attempt(folder, run, plan, number, then)
        report.operations = max(report.operations, outcome.operations)
        report.runs += 1
        report.refused += outcome.status != 0
        place = f"{plan.error}{' from then on' if plan.after else ''}, operation {number} ({outcome.failed})"
        report.wrong += [f"{place}: {each}" for each in check(outcome)]
        if not outcome.failed:
            return report
        number += plan.step


def attempt(
    folder: Path,
    run: Callable[[], int],
    plan: Plan = Plan(),
    number: int = -1,
    then: Callable[[], int] | None = None,
) -> Outcome:
    """One run in a fork. Without a number nothing fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(_run(folder, run, plan, number, then), pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        status = _ended(child)
        written = pipe.read()
    if status != 0 or not written:
        return Outcome(status=-1, failed="?", told=f"the process ended with {status}")
    return pickle.loads(written)


def _run(folder: Path, run: Callable[[], int], plan: Plan, number: int, then: Callable[[], int] | None) -> Outcome:
    log = enter(folder)
    library = ctypes.CDLL(None)
    library.faults_what.restype = ctypes.c_char_p
    library.faults_end.restype = ctypes.c_long
    library.faults_begin(plan.mode, bytes(folder), ctypes.c_long(number), ERRORS[plan.error], plan.after)
    status = status_of(run)
    operations = library.faults_end()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    leaked = tuple(_descriptors(folder))
    told = log.read_text(errors="replace")
    return Outcome(status, operations, library.faults_what().decode(), told, leaked, status_of(then) if then else 0)


def enter(folder: Path) -> Path:
    """Make a forked process one of a scenario: its folders, and a log for what it prints. Returns the log."""
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as file:
        for standard in (1, 2):
            os.dup2(file.fileno(), standard)
    os.chdir(folder)
    os.environ["TRTMATTE_CACHE"] = str(folder / "cache")
    return log


def status_of(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 99


def _descriptors(folder: Path) -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            place = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if Path(place.removesuffix(" (deleted)")).is_relative_to(folder):
            yield place


def _ended(child: int) -> int:
    """Wait for a process, not for ever. Returns its exit status, or a negative signal."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM
