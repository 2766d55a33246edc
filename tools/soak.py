"""Run one process for long: frames, sessions and engines. Memory, descriptors and threads must stay as they are.

    python -m tools.soak                      # 10⁶ tiny and 20,000 real frames, 2,000 sessions, engines and errors
    python -m tools.soak --scale 0.01         # a hundredth of that

Writes a table, out/soak.md and out/soak.json. Exits with 1 if something grows.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import trtmatte
from trtmatte.errors import EngineError, FrameError

COUNTS: Final = {"tiny frames": 1_000_000, "real frames": 20_000, "sessions": 2_000, "engines": 2_000, "errors": 2_000}

_REAL: Final = (256, 144)
_SAMPLES: Final = 40
_WARM: Final = 4  # one in so many samples is of warming up
_GROWTH: Final = 2 << 20


@dataclass(frozen=True)
class Usage:
    memory: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Row:
    """What a phase used: after warming up, and at the end."""

    phase: str
    count: int
    seconds: float
    before: Usage
    after: Usage

    @property
    def grows(self) -> bool:
        before, after = self.before, self.after
        more = after.descriptors > before.descriptors or after.threads > before.threads
        return more or after.memory - before.memory > _GROWTH


def usage() -> Usage:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Usage(pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))


def soak(phase: str, work: Callable[[int], object], count: int) -> Row:
    """Do the work so many times. Compares the medians of the samples before and after the middle."""
    start = time.perf_counter()
    samples = []
    done = 0
    gc.freeze()  # what is there already is not looked through each time
    for sample in range(1, _SAMPLES + 1):
        until = count * sample // _SAMPLES
        for number in range(done, until):
            work(number)
        done = until
        samples.append(usage())
    gc.unfreeze()
    kept = samples[len(samples) // _WARM :]
    half = len(kept) // 2
    return Row(phase, count, time.perf_counter() - start, _typical(kept[:half]), _typical(kept[half:]))


def _typical(samples: Sequence[Usage]) -> Usage:
    return Usage(
        int(statistics.median(each.memory for each in samples)),
        max(each.descriptors for each in samples),
        max(each.threads for each in samples),
    )


def phases(folder: Path, backend: str) -> Iterator[tuple[str, Callable[[int], object]]]:
    """The work of each phase, ready to be repeated. What it needs is open until the next phase."""
    from tests import real_models
    from tests.runtime.session import engines
    from trtmatte.format import file as engine_file

    tiny, path = engines.memory(), folder / "tiny.trtm"
    engine_file.write(tiny, path)
    damaged = folder / "damaged.trtm"
    damaged.write_bytes(path.read_bytes()[:-100])
    frames: list[Any] = [engines.noise(seed) for seed in range(16)]  # type: ignore[no-untyped-call]
    with tiny.session(backend=backend) as session:
        yield "tiny frames", lambda number: session(frames[number % 16])
    real = engines.rvm(*_REAL, 0.5)
    clip = list(itertools.islice(real_models.clip(*_REAL), 30))
    with real.session(backend=backend) as session:
        yield "real frames", lambda number: session(clip[number % len(clip)])

    def open_session(number: int) -> None:
        with tiny.session(backend=backend) as opened:
            opened(frames[number % 16])

    def refused(number: int) -> None:
        with contextlib.suppress(EngineError):
            trtmatte.load(damaged)
        with contextlib.suppress(FrameError):
            kept(np.zeros((3, 3)))

    yield "sessions", open_session
    yield "engines", lambda _: trtmatte.load(path).verify()
    with tiny.session(backend=backend) as kept:
        yield "errors", refused


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| what | how often | seconds | memory, MB | descriptors | threads |", "|---|---|---|---|---|---|"]
    for row in rows:
        parts = [f"{row.before.memory / 1e6:.1f} → {row.after.memory / 1e6:.1f}"]
        parts += [f"{row.before.descriptors} → {row.after.descriptors}", f"{row.before.threads} → {row.after.threads}"]
        lines.append(f"| {row.phase} | {row.count:,} | {row.seconds:.0f} | {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for phase, work in phases(Path(folder), args.backend):
            count = args.frames if phase == "real frames" and args.frames else int(COUNTS[phase] * args.scale)
            rows.append(soak(phase, work, max(count, _SAMPLES)))
            print(table(rows[-1:]).splitlines()[-1] + (" grows" if rows[-1].grows else ""), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "soak.md").write_text(table(rows))
    (args.out / "soak.json").write_text(json.dumps([_facts(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.grows for row in rows) else 0


def _facts(row: Row) -> dict[str, Any]:
    return {**asdict(row), "grows": row.grows}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, metavar="S", help="how much of all of it (default: 1)")
    parser.add_argument("--frames", type=int, metavar="N", help="number of real frames")
    parser.add_argument("--backend", default="onnxruntime", help="the library that runs the networks")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="folder of the table (default: out)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
