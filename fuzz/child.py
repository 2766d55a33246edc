"""The process that attacks. It tells its parent where it is, so that a crash or a hang can be given to an input."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

from fuzz.target import Target

__all__ = [
    "ACCEPTED",
    "DESCRIPTORS",
    "ENDED",
    "LOADED",
    "MEMORY",
    "NUMBER",
    "REFUSED",
    "Problem",
    "Work",
    "problem_of",
    "shrink",
    "usage",
    "work",
]

NUMBER, ACCEPTED, REFUSED, LOADED, ENDED, MEMORY, DESCRIPTORS = range(7)
"""Places in the memory that parent and child share. The last two say what the child used after loading."""

_LARGEST_LOG: Final = 1 << 20


@dataclass(frozen=True)
class Problem:
    """Something that must not happen."""

    kind: str
    """`wrong` acceptance, `error` that is not ours, `crash`, `hang`, `memory`."""
    where: str
    """Alike for all inputs with the same cause."""
    text: str
    number: int = -1


@dataclass(frozen=True)
class Work:
    """The inputs of one child, and what it may use."""

    target: str
    seed: int
    numbers: range
    until: float
    """A time of `time.monotonic`, which is the same in all processes."""
    address_space: int


def work(order: Work, state: Any, tell: Connection, log: Path) -> None:
    """Attack with one input after another. What goes wrong is told; the process goes on as long as it lives."""
    _prepare(order, log)
    target = Target(order.target)
    state[MEMORY], state[DESCRIPTORS] = usage(os.getpid()) or (0, 0)
    state[LOADED] = 1
    for count, number in enumerate(order.numbers):
        if time.monotonic() > order.until:
            break
        state[NUMBER] = number
        try:
            accepted = target.attack(target.input(order.seed, number))
        except BaseException as error:
            tell.send(replace(problem_of(error), number=number))
        else:
            state[ACCEPTED if accepted else REFUSED] += 1
        if count % 1000 == 0 and os.fstat(2).st_size > _LARGEST_LOG:
            os.ftruncate(2, 0)
    state[ENDED] = 1  # what libraries take while the process ends is no finding


def usage(process: int) -> tuple[int, int] | None:
    """The memory and the number of descriptors of a process; None if it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * resource.getpagesize(), len(os.listdir(f"/proc/{process}/fd"))
    except (OSError, IndexError):
        return None


def problem_of(error: BaseException) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "trtmatte" in Path(frame.filename).parts]
    places = dict.fromkeys(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:]))
    kind = "wrong" if isinstance(error, AssertionError) else "error"
    text = "".join(traceback.format_exception(error))
    return Problem(kind, " ".join((type(error).__name__, *places)), text)


def shrink(order: Work, data: bytes, where: str, tell: Connection, log: Path) -> None:
    """Tell ever smaller inputs with the same problem: parts are left out while the problem stays."""
    _prepare(order, log)
    target = Target(order.target)
    size = len(data) // 2
    while size and time.monotonic() < order.until:
        for shorter in _without_parts(data, size):
            if time.monotonic() < order.until and _problem_is(target, shorter, where):
                data = shorter
                tell.send(data)
                break
        else:
            size //= 2


def _without_parts(data: bytes, size: int) -> Iterator[bytes]:
    starts = list(range(0, len(data), size))
    Random(0).shuffle(starts)
    for start in starts:
        yield data[:start] + data[start + size :]


def _problem_is(target: Target, data: bytes, where: str) -> bool:
    try:
        target.attack(data)
    except BaseException as error:
        return problem_of(error).where == where
    return False


def _prepare(order: Work, log: Path) -> None:
    """What libraries print goes into the log, with the place of a crash. Ctrl-C is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError):  # it is lower already
        resource.setrlimit(resource.RLIMIT_AS, (order.address_space, order.address_space))
