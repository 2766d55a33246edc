"""Hardware counters of the whole-frame kernels, by ncu: time, bytes of memory, instructions, and how busy they are."""

from __future__ import annotations

import csv
import functools
import os
import shutil
import subprocess
import sys
from typing import Any, Final

from tools.gpu_day.report import part

CASES: Final = (
    "guided_upsample and 4K",
    "frame_sample and 4K and linear",
    "matte_upsample and composite",
    "patch_scatter",
)
METRICS: Final = (
    "gpu__time_duration.sum",
    "dram__bytes.sum",
    "sm__inst_executed.sum",
    "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "launch__registers_per_thread",
)
_LAUNCHES: Final = 4


def counters(case: str) -> dict[str, Any]:
    """The counters of the first launches of our kernels, by kernel."""
    program = shutil.which("ncu")
    assert program, "ncu is not installed"
    measured = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "benchmarks/ops",
        "--device=cuda",
        "--benchmark-disable",
    ]
    options = ["--csv", "--clock-control", "none", "--kernel-name-base", "demangled", "-k", "regex:trtmatte"]
    done = subprocess.run(
        [program, *options, "-c", str(_LAUNCHES), "--metrics", ",".join(METRICS), *measured, "-k", case],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRTMATTE_REQUIRE_GPU": "1"},
    )
    found = read(done.stdout)
    assert found, f"ncu reported no kernel: {done.stdout[-300:]} {done.stderr[-300:]}"
    return found


def read(output: str) -> dict[str, Any]:
    """The metrics of each kernel in ncu's CSV, with their units: those of its last launch."""
    lines = [line for line in output.splitlines() if line.startswith('"')]
    found: dict[str, Any] = {}
    for row in csv.DictReader(lines):
        kernel = row["Kernel Name"].split("(")[0].split("<")[0].split("::")[-1].split()[-1]
        found.setdefault(kernel, {})[row["Metric Name"]] = f"{row['Metric Value']} {row['Metric Unit']}".strip()
    return found


def main() -> int:
    done = [part(case, functools.partial(counters, case)) for case in CASES]
    return 0 if all(done) else 1


if __name__ == "__main__":
    raise SystemExit(main())
