"""Run pieces on a GPU machine without a network, from the repository's root.

    python -m tools.gpu_day.run [--out FOLDER] [PIECE…]
    python -m tools.gpu_day.run --rehearse PIECE…        here, without a GPU

First it keeps what was brought: the folders of prepare.py, which lie in build/gpu-day. Without a piece it does no more.
A piece writes PIECE.json and PIECE.log into the folder while it runs, and other results as files.tar.gz at its end.
Steps go on where one fails. GPU_DAY names a folder that outlasts the call; it has what was brought, unpacked.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tools.gpu_day import archive
from tools.gpu_day.pieces import CORE, PIECES, Step
from tools.gpu_day.report import (
    FAILED,
    NO_DEVICE,
    NOT_RUN,
    OK,
    TIMEOUT,
    Report,
    Result,
    parts,
    parts_environment,
    shortened,
)

ROOT: Final = Path(__file__).resolve().parents[2]
BROUGHT: Final = ROOT / "build" / "gpu-day"
PACKAGE: Final = ROOT / "build" / "gpu" / "package"  # which tools/gpu_check.sh assembles around the core
WORK: Final = ROOT / "out" / "gpu-day"
CAPABILITY: Final = "9.0"  # of the GPU that a rehearsal takes the place of

_NEEDS_DEVICE: Final = re.compile(
    r"error:? 35|Found no NVIDIA driver|no NVIDIA driver|driver version is insufficient|torch\.Accelera|"
    r"nvidia-smi finds no GPU|needs a CUDA device|no CUDA device was found|no CUDA-capable device|"
    r"only libcuda\.so\.1 is missing|compute-sanitizer.*No such file|ncu is not installed"
)
_BROKEN: Final = re.compile(r"ERROR collecting|ModuleNotFoundError|did not run")
_SUMMARY: Final = re.compile(r"\d+ (passed|failed|skipped|error).* in [\d.]+s")
_COUNT: Final = re.compile(r"(\d+) (passed|failed|skipped|error)")


def main() -> int:
    """Return the exit status: 0 all steps went well, 1 some failed."""
    parser = argparse.ArgumentParser(description="Run pieces on a GPU machine without a network.")
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=", ".join(PIECES))
    parser.add_argument("--out", type=Path, default=WORK / "results", help="where the results go (out/gpu-day/results)")
    parser.add_argument("--limit", type=int, default=570, metavar="SECONDS", help="for all pieces together (570)")
    parser.add_argument("--steps", nargs="+", metavar="STEP", help="only these steps")
    parser.add_argument("--rehearse", action="store_true", help="there is no GPU: show that all else is there")
    arguments = parser.parse_args()
    if unknown := set(arguments.pieces) - set(PIECES):
        parser.error(f"there is no piece {', '.join(sorted(unknown))}; expected {', '.join(PIECES)}")
    os.chdir(ROOT)
    day = Day(arguments.out.resolve(), time.monotonic() + arguments.limit, arguments.rehearse)
    day.keep()
    failed = [f"{piece}: {step}" for piece in arguments.pieces for step in day.run(piece, arguments.steps)]
    if failed:
        print("failed:", "; ".join(failed), file=sys.stderr)
    return 1 if failed else 0


class Day:
    """The folder that outlasts a call, and what the steps find in it."""

    def __init__(self, out: Path, deadline: float, rehearsal: bool) -> None:
        self._out, self._deadline, self._rehearsal = out, deadline, rehearsal
        self._folder = Path(os.environ.get("GPU_DAY") or Path.home() / ".cache" / "trtmatte-gpu-day")
        self._pieces, self._kit = self._folder / "pieces", self._folder / "kit"

    def keep(self) -> None:
        """Keep what was brought, where later calls find it."""
        self._pieces.mkdir(parents=True, exist_ok=True)
        if (BROUGHT / "kit").is_dir():
            shutil.rmtree(self._kit, ignore_errors=True)
            shutil.copytree(BROUGHT / "kit", self._kit)
        for piece in BROUGHT.glob("*/*.tar.xz.*"):
            shutil.copy(piece, self._pieces)
        here = sorted(path.name for path in self._pieces.iterdir())
        print(f"kept: {'kit' if self._kit.is_dir() else 'no kit'}, {', '.join(here) or 'no pieces'}", flush=True)

    def run(self, piece: str, chosen: list[str] | None) -> list[str]:
        """Run the steps of a piece. Returns the names of those that failed."""
        machine = self._facts()
        report = Report(self._out / f"{piece}.json", piece=piece, rehearsal=self._rehearsal, machine=machine)
        with (self._out / f"{piece}.log").open("a") as log:
            for step in self._steps(piece):
                if chosen is None or step.name in chosen or step is CORE:
                    report.add(*self._step(step, report, log))
                if machine is None:
                    machine = self._facts()
                    report.describe(machine=machine)
        self._collect_files()
        return report.failed

    def _steps(self, piece: str) -> list[Step]:
        """The steps of a piece, after that of the core where an earlier call has left none."""
        steps = list(PIECES[piece])
        if not PACKAGE.is_dir() and piece != "emulated" and CORE not in steps:
            steps.insert(0, CORE)
        return steps

    def _step(self, step: Step, report: Report, log: Any) -> list[Result]:
        """Run a step. Returns its parts and the whole."""
        print(f"== {step.name}", file=log, flush=True)
        began = time.monotonic()
        try:
            for name in step.archives:
                self._unpack(name)
        except (archive.ArchiveError, OSError) as error:
            return [self._told(Result(step.name, FAILED, _since(began), {}, shortened(str(error))))]
        left = self._deadline - time.monotonic()
        if left < 5:
            return [self._told(Result(step.name, NOT_RUN, 0, {}, "no time was left"))]
        unpacked = {"unpacking": _since(began)} if step.archives else {}

        start = log.tell()
        reported = WORK / "parts.jsonl"
        reported.parent.mkdir(parents=True, exist_ok=True)
        reported.unlink(missing_ok=True)
        limit = min(step.limit, left)
        environment = self._environment() | parts_environment(reported) | {"STEP_LIMIT": str(max(1, int(limit) - 5))}
        status = _watched(step.command, environment, log, limit, lambda: report.write(*self._parts(step, reported)))
        log.flush()
        said = Path(log.name).read_text(errors="replace")[start:]
        result = Result(step.name, self._status(status, said), _since(began), _numbers(said) | unpacked)
        if result.status != OK:
            result = replace(result, message=_last_words(said))
        return [*self._parts(step, reported), self._told(result)]

    def _parts(self, step: Step, path: Path) -> list[Result]:
        return [
            replace(each, name=f"{step.name}: {each.name}", status=self._status(int(each.status != OK), each.message))
            for each in parts(path)
        ]

    def _status(self, status: int | None, said: str) -> str:
        if status == 0:
            return OK
        if self._rehearsal and _NEEDS_DEVICE.search(said) and not _BROKEN.search(said):
            return NO_DEVICE
        return TIMEOUT if status is None else FAILED

    def _told(self, result: Result) -> Result:
        more = " ".join([*(f"{name}={each}" for name, each in result.numbers.items()), result.message])
        print(f"{result.status:9} {result.name}  {result.seconds} s  {more}", flush=True)
        return result

    def _unpack(self, name: str) -> None:
        target = self._folder / name
        if target.is_dir():
            return
        known = {each.name: each for each in archive.read_list(self._kit / "archives.json")}
        if name not in known:
            raise archive.ArchiveError(f"{name} was not prepared, or its kit was not brought: see prepare.py")
        archive.join(known[name], self._pieces, target)

    def _environment(self) -> dict[str, str]:
        """What the steps find: the package with the core for this GPU, what was brought, and the machine's own."""
        self._install_wheels()
        folders = [PACKAGE, ROOT, self._folder / "site"]
        folders += [self._folder / "tensorrt" / "python", self._folder / "onnxruntime"]
        libraries = [self._folder / "tensorrt" / "lib", *_nvidia_libraries()]
        more = {
            "PYTHON": sys.executable,
            "PYTHONPATH": _joined(folders, "PYTHONPATH"),
            "LD_LIBRARY_PATH": _joined(libraries, "LD_LIBRARY_PATH"),
            "PYTHONUNBUFFERED": "1",
            "TRTMATTE_CACHE": str(self._folder / "cache"),
            "TRTMATTE_OFFLINE": "1",
            "TRTMATTE_REQUIRE_GPU": "1",
            "GPU_DAY_KIT": str(self._kit),
        }
        headers = {"TensorRT_ROOT": str(self._kit / "headers")} if (self._kit / "headers").is_dir() else {}
        return {**os.environ, **more, **headers, **({"CAPABILITY": CAPABILITY} if self._rehearsal else {})}

    def _install_wheels(self) -> None:
        """Install wheels that are not installed yet, beside the machine's own packages, and fill the cache folder."""
        if (self._kit / "cache").is_dir():
            shutil.copytree(self._kit / "cache", self._folder / "cache", dirs_exist_ok=True)
        done = self._folder / "wheels.txt"
        installed = done.read_text().split() if done.is_file() else []
        wheels = [path for folder in (self._kit, BROUGHT / "video") for path in (folder / "wheels").glob("*.whl")]
        if new := [path for path in wheels if path.name not in installed]:
            options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade", "--target"]
            command = [sys.executable, "-m", "pip", "install", *options, str(self._folder / "site"), *map(str, new)]
            subprocess.run(command, check=True)
            done.write_text("\n".join([*installed, *(path.name for path in new)]) + "\n")

    def _facts(self) -> dict[str, Any] | None:
        """The GPU, its driver, versions and the commit; None as long as there is no core."""
        script = (
            "import json; from benchmarks import machine;"
            "print(json.dumps({**machine.facts('cuda'), 'commit': machine.commit()}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            return None
        facts: dict[str, Any] = json.loads(done.stdout)
        commit = self._kit / "commit.txt"  # of a copy without .git
        if not facts["commit"] and commit.is_file():
            facts["commit"] = commit.read_text().strip()
        return facts

    def _collect_files(self) -> None:
        """Results that are files: reports of benchmarks, layers of plans."""
        with tarfile.open(self._out / "files.tar.gz", "w:gz") as tar:
            for folder in ("benchmarks", "files", "checks"):
                if (WORK / folder).is_dir():
                    tar.add(WORK / folder, folder)


def _watched(command: tuple[str, ...], environment: dict[str, str], log: Any, limit: float, look: Any) -> int | None:
    """Run a command, and look at what it reports once a second. Returns its exit status; None if it took too long."""
    end = time.monotonic() + limit
    try:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
    except OSError as error:
        print(error, file=log)
        return 127
    while True:
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            look()
        if time.monotonic() > end:
            for how in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
            return None


def _numbers(said: str) -> dict[str, Any]:
    """The counts of pytest's last line."""
    lines = [line for line in said.splitlines() if _SUMMARY.search(line)]
    return {kind: int(count) for count, kind in _COUNT.findall(lines[-1])} if lines else {}


def _last_words(said: str) -> str:
    """The lines that say what failed, or the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = [line for line in lines if re.match(r"(FAILED|ERROR|E  |error:|failed:)", line)]
    return shortened("; ".join(found[:4] or lines[-1:]))


def _joined(folders: list[Path], variable: str) -> str:
    """Those folders that exist, and what the variable names already."""
    known = [os.environ[variable]] if os.environ.get(variable) else []
    return os.pathsep.join([*(str(each) for each in folders if each.is_dir()), *known])


def _nvidia_libraries() -> list[Path]:
    """The libraries of NVIDIA's wheels, which loaders do not find by themselves."""
    spec = importlib.util.find_spec("nvidia")
    places = list(spec.submodule_search_locations or []) if spec else []
    return [path for place in places for path in sorted(Path(place).glob("*/lib"))]


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


if __name__ == "__main__":
    raise SystemExit(main())
