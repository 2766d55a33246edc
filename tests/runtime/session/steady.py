"""What sessions allocate once they are warm, measured in a process of its own: nothing else has used its memory.

    python -m tests.runtime.session.steady JOB.json

The job says which engine, which frames, how many sessions on as many threads and how many calls; what comes is JSON.
"""

from __future__ import annotations

import collections
import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np

import trtmatte
from trtmatte import _core
from trtmatte.format.file import write
from trtmatte.runtime.session.pool import KEPT

MOST = {"blocks": 40, "peak": 64 << 10, "resident": 2 << 20}
TRIES = 4


def assert_steady(engine, folder, frames, *, backend, calls, warm=50, sessions=1, kept=0, **options):
    """Python's memory neither grows nor peaks, the core gets none, and the process stays as large as it is.

    The last `kept` results are kept. `calls` are 100 or more, half of them traced in Python for what grows and half for
    what peaks.
    """
    write(engine, folder / "engine.trtm")
    arrays = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    np.savez(folder / "arrays.npz", *frames, **arrays)
    job = {"backend": backend, "calls": calls, "warm": warm, "sessions": sessions, "kept": kept}
    job["options"] = {name: value for name, value in options.items() if name not in arrays}
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tests.runtime.session.steady", str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["blocks"] < MOST["blocks"], found
    assert found["peak"] < MOST["peak"], f"arrays were made on the way: {found}"
    assert found["resident"] < MOST["resident"], found
    assert found["core"] == 0, found
    assert found["counted"] == 2 * max(0, kept + 1 - KEPT), found


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def measured(work, sessions):
    """What the same work takes, done twice. Where it is more than allowed, it is measured again, up to TRIES times.

    A leak grows each time. On a busy machine other things grow once: libraries take memory late, and a thread that
    waits for its next turn holds objects.
    """
    core = _core.allocations()
    for _ in range(TRIES):
        found = measured_once(work)
        if all(found[name] < most for name, most in MOST.items()):
            break
    found["core"] = _core.allocations() - core
    found["counted"] = sum(session.stats().allocations for session in sessions)
    return found


def measured_once(work):
    before = resident()
    tracemalloc.start()
    work()
    held, blocks = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
    tracemalloc.reset_peak()
    work()
    peak, more_blocks = tracemalloc.get_traced_memory()[1], sys.getallocatedblocks() - blocks
    tracemalloc.stop()
    return {"blocks": more_blocks, "peak": peak - held, "resident": resident() - before}


def run(session, frames, count, kept=None):
    """`kept` is a window of the last results."""
    for frame in itertools.islice(itertools.cycle(frames), count):
        matte = session(frame)
        if kept is not None:
            kept.append(matte)
        del matte


def on_threads(sessions, frames, warm, calls):
    """The sessions side by side, which begin and end each piece of work together."""
    turns, counts = threading.Barrier(len(sessions) + 1), [warm]

    def work(session):
        while turns.wait() >= 0 and counts:
            run(session, frames, counts[0] // len(sessions))
            turns.wait()

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()

    def one_turn():
        turns.wait()
        turns.wait()

    one_turn()
    counts[0] = calls
    found = measured(one_turn, sessions)
    counts.clear()
    turns.wait()
    for thread in threads:
        thread.join()
    return found


def main(path):
    job = json.loads(path.read_text())
    with np.load(path.with_name("arrays.npz")) as arrays:
        frames = [arrays[name] for name in arrays.files if name.startswith("arr_")]
        options = {**job["options"], **{name: arrays[name] for name in arrays.files if not name.startswith("arr_")}}
    engine = trtmatte.load(path.with_name("engine.trtm"))
    sessions = [engine.session(backend=job["backend"], **options) for _ in range(job["sessions"])]
    warm, calls = job["warm"], job["calls"] // 2
    # A full collection empties Python's free lists, and what fills them again would count as blocks.
    gc.collect()
    gc.disable()
    if len(sessions) > 1:
        found = on_threads(sessions, frames, warm * len(sessions), calls)
    else:
        kept = collections.deque(maxlen=job["kept"]) if job["kept"] else None
        run(sessions[0], frames, warm, kept)
        found = measured(lambda: run(sessions[0], frames, calls, kept), sessions)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
