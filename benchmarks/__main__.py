"""Run all benchmarks one by one, and write the report.

    python -m benchmarks                       what `make bench` does: ten minutes on two cores
    python -m benchmarks --full                everything, with more rounds: an hour and a half
    python -m benchmarks --quick               tiny sizes: shows in seconds that everything runs; writes to out/quick
    python -m benchmarks --report              write the report and README's tables from the existing results
    python -m benchmarks --device cuda --out DIR

The results of an interrupted run are kept, and the next run of the same commit continues it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, report
from benchmarks.models.subjects import subjects
from trtmatte import _core

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"


def main() -> int:
    """Return the exit status: 0 everything was measured, 1 something failed and the rest was measured."""
    options = _parser().parse_args()
    device = options.device or ("cuda" if _core.CUDA_BUILT and _core.cuda_device_count() else "cpu")
    out = _folder(options, device)
    failed = [] if options.report else _measure(out, device, options)
    if not failed or any(out.glob("*.json")):
        report.write(out)
        if RESULTS in out.parents:
            report.write_readme(ROOT / "README.md", RESULTS)
        print(f"the report is {out / 'report.md'}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _folder(options: argparse.Namespace, device: str) -> Path:
    """The folder for results. Those of a quick run mean nothing, so they never replace measurements."""
    if options.out:
        folder: Path = options.out.absolute()
        return folder
    return ROOT / "out" / "quick" if options.selection == "quick" else RESULTS / machine.name(device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None)
    selection = parser.add_mutually_exclusive_group()
    for name, about in (
        ("quick", "tiny sizes, done in seconds; results go to out/quick"),
        ("full", "everything, with more rounds"),
    ):
        selection.add_argument(f"--{name}", action="store_const", const=name, dest="selection", help=about)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="device to run on (default: cuda if there is a GPU, otherwise cpu)"
    )
    parser.add_argument("--only", nargs="+", metavar="SUBJECT", help="measure only these; other results are kept")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for results (default: benchmarks/results/<machine>)"
    )
    parser.add_argument("--again", action="store_true", help="measure again what is already measured")
    parser.add_argument(
        "--report",
        action="store_true",
        help="measure nothing; write the report and README's tables from the existing results",
    )
    parser.set_defaults(selection="standard")
    return parser


def _measure(out: Path, device: str, options: argparse.Namespace) -> list[str]:
    """Measure the named benchmarks. Returns the names of those that failed."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"{machine.name(device)}-{options.selection}"
    parts = (out if options.out else ROOT / "out" / "benchmarks") / f"{name}.parts"
    if options.again:
        shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True, exist_ok=True)
    names = ["ops", *(each.name for each in subjects(options.selection, device))]
    chosen = [name for name in names if not options.only or name in options.only]
    if unknown := set(options.only or ()) - set(names):
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}; expected {', '.join(names)}")
    failed = []
    for index, name in enumerate(chosen, 1):
        began = time.monotonic()
        print(f"[{index}/{len(chosen)}] {name}", end=" ", flush=True)
        part = parts / f"{name}.json"
        if _is_current(part):
            print("is there")
            continue
        log = _run(name, part, device, options.selection)
        print(f"{time.monotonic() - began:.0f} s" if log is None else f"FAILED\n{log}", flush=True)
        if log is not None:
            failed.append(name)
    measured = [name for name in chosen if name not in failed]
    _merge(out, parts, measured, bool(options.only))
    if not failed:
        for name in measured:  # those of an interrupted run of all stay for the next
            (parts / f"{name}.json").unlink()
        if not any(parts.iterdir()):
            parts.rmdir()
    return failed


def _run(name: str, part: Path, device: str, selection: str) -> str | None:
    """Run pytest. Returns its output if it failed."""
    where = ["benchmarks/ops"] if name == "ops" else [f"benchmarks/models/bench_models.py::test_model[{name}]"]
    written = part.with_suffix(".part")
    command = [sys.executable, "-m", "pytest", *where, "-q", "-p", "no:cacheprovider", f"--device={device}"]
    done = subprocess.run(
        [*command, f"--selection={selection}", f"--benchmark-json={written}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        capture_output=True,
        text=True,
        check=False,
    )
    if written.is_file() and written.stat().st_size and (done.returncode == 0 or name == "ops"):
        written.replace(part)  # an op that misses a goal is measured all the same
    else:
        written.unlink(missing_ok=True)
    if done.returncode == 0 and part.is_file():
        return None
    return done.stdout[-3000:] + done.stderr[-1000:]


def _is_current(part: Path) -> bool:
    """Report if a result was measured with the present code."""
    return part.is_file() and json.loads(part.read_text())["commit_info"]["id"] == machine.commit()


def _merge(out: Path, parts: Path, names: list[str], keep: bool) -> None:
    """Update `ops.json` and `models.json`. With `keep`, results of other benchmarks stay."""
    models = [json.loads((parts / f"{name}.json").read_text()) for name in names if name != "ops"]
    if models:
        there = out / "models.json"
        before = [json.loads(there.read_text())] if keep and there.is_file() else []
        measured = {each["name"]: each for run in (*before, *models) for each in _with_commit(run)}
        _write(there, {**models[-1], "benchmarks": [*measured.values()]})
    if "ops" in names or (parts / "ops.json").is_file():
        _write(out / "ops.json", json.loads((parts / "ops.json").read_text()))


def _with_commit(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the benchmarks of a file, each with the commit that it was measured on."""
    for each in run["benchmarks"]:
        each["extra_info"].setdefault("commit", run["commit_info"]["id"])
    return list(run["benchmarks"])


def _write(path: Path, data: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data, indent=1) + "\n")
    part.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
