"""The race of a subject: open all contenders, compare them with the reference, and time them in rounds."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.models import limits, weights
from benchmarks.models.contenders import ENTRIES
from benchmarks.models.subjects import Subject

Array = np.ndarray[Any, Any]

TOLERANCES: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "cpu": {"our composite": (0.8, 2.0), "composite": (1.5, 16.0), "": (2e-4, 2e-3)},
    "cuda": {"our composite": (1.5, 12.0), "composite": (2.0, 16.0), "": (4e-3, 5e-2)},
}
"""By device and output: how far a contender may be off on average, and 999 in 1,000 of its values. Composites are in
steps of 255, and some round where others cut off; MODNet's and U-2-Net's documents resample in other ways around an
ONNX file than around PyTorch. Floats are of 1. CUDA means float16."""

_EXACT: Final = "torch-eager"
_TURN: Final = 0.5  # seconds that a turn takes about
_FRAMES: Final = (3, 12)  # in a turn, of which the first is not counted
_MOST_ROUNDS: Final = 20
_SPINNING: Final = 0.05  # of a processor, while others have their turns
_PAUSE: Final = 0.3  # seconds; shorter ones say nothing of that


class CheckError(AssertionError):
    """The output of a contender is wrong, so its time means nothing."""


class RunnerError(RuntimeError):
    """A contender's process has ended."""


class Runner:
    """A contender's process. It is stopped while others have their turns."""

    def __init__(self, name: str, subject: Subject, device: str, folder: Path) -> None:
        self.name = name
        self.facts: dict[str, Any] = {}
        self.ms: dict[str, float] = {}  # about how long a frame takes, by question
        self.work = 0.0  # seconds on processors so far
        self.idle = 0.0  # share of a processor that it used while it was stopped, at most
        self._stopped = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed in `end`
        before = machine.device_memory_used()
        order = {
            "name": name,
            "subject": subject.to_json(),
            "device": device,
            "folder": str(folder),
            "began": time.time(),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.models.worker", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.facts["load"] = self._answer()["load"]
        self.facts["first_ms"] = self.ask("first")["ms"][0]
        self.facts |= self.ask("facts")
        if before is not None and (after := machine.device_memory_used()) is not None:
            self.facts["device_memory"] = after - before

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        pause = time.perf_counter() - self._stopped
        self._process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": what, **arguments}), file=self._process.stdin, flush=True)
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        self._stopped = time.perf_counter()
        self.work, idle = answer.pop("work"), answer.pop("idle")
        if pause > _PAUSE:
            self.idle = max(self.idle, idle / pause)
        return answer

    def frames(self, question: str) -> int:
        """The number of frames in a turn."""
        return int(np.clip(_TURN * 1000 / self.ms[question], *_FRAMES))

    def end(self) -> None:
        self._process.kill()  # it may be stopped, and has nothing to put in order
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            assert stream is not None
            stream.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._process.wait()
        self._log.seek(0)
        said = [each for each in self._log.read().splitlines() if each.strip()]
        self.end()
        raise RunnerError(said[-1] if said else f"ended with {self._process.returncode}")


class Pace(NamedTuple):
    """The time and the rounds for a race."""

    budget: float  # seconds for each question of a subject
    rounds: int  # at least
    profiled: int  # frames


class Race:
    def __init__(self, subject: Subject, device: str, names: Sequence[str], pace: Pace) -> None:
        self.subject, self.device, self.pace = subject, device, pace
        self._names, self._folder = names, weights.default_folder()
        self._runners: dict[str, Runner] = {}
        self._ms: dict[str, dict[str, list[list[float]]]] = {}
        self._failed: dict[str, str] = {}
        self._errors: dict[str, dict[str, Any]] = {}
        self._stages: dict[str, Any] = {}
        self._limits: dict[str, Any] = {}
        self._energy: dict[str, dict[str, list[float]]] = {}
        self._turn = 0
        self._began = self._work = 0.0

    def __enter__(self) -> Race:
        try:
            weights.prepare(self.subject, self._folder)
            with tempfile.TemporaryDirectory() as folder:
                references = self._references(Path(folder))
                for name in self._names:
                    if name not in self._runners:
                        self._open(name, references, Path(folder))
            self._began, self._work = time.perf_counter(), self._not_ours()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def rounds(self) -> int:
        """The number of rounds that fit into the budget."""
        questions = self.subject.questions
        seconds = sum(
            runner.ms[question] * runner.frames(question) / 1000
            for question in questions
            for runner in self._entrants(question)
        )
        return int(np.clip(self.pace.budget * len(questions) / seconds, self.pace.rounds, _MOST_ROUNDS))

    def round(self) -> None:
        """Give every contender a turn for each question, in forward and reverse order by turns."""
        self._turn += 1
        for question in self.subject.questions:
            entrants = self._entrants(question)
            for runner in entrants if self._turn % 2 else reversed(entrants):
                frames = runner.frames(question)
                before = machine.energy(self.device)
                ms = runner.ask("turn", question=question, frames=frames)["ms"]
                after = machine.energy(self.device)
                self._ms.setdefault(question, {}).setdefault(runner.name, []).append(ms)
                if before is not None and after is not None:
                    joules = (after - before) / (frames * self.subject.batch * self.subject.streams)
                    self._energy.setdefault(question, {}).setdefault(runner.name, []).append(joules)

    def profile(self, frames: int) -> None:
        """Profile the stages of trtmatte's sessions."""
        for name, runner in self._runners.items():
            if ENTRIES[name].kind == "Sessions":
                self._stages[name] = runner.ask("profile", frames=frames)
        self._limits = {
            "limits": limits.limits(self.device),
            "flops": limits.flops(weights.engine_path(self.subject, self._folder)),
        }

    def result(self) -> dict[str, Any]:
        """All results, for JSON."""
        for name, runner in self._runners.items():
            if runner.idle > _SPINNING:
                raise CheckError(f"{name} used {runner.idle:.0%} of a processor while others had their turns")
        return {
            "subject": self.subject.to_json(),
            "device": self.device,
            "rounds": self._turn,
            "others": self._others(),
            "ms": self._ms,
            "energy": self._energy,
            "errors": self._errors,
            "contenders": {
                name: {"what": ENTRIES[name].what, **runner.facts, "idle": runner.idle}
                for name, runner in self._runners.items()
            },
            "failed": self._failed,
            "stages": self._stages,
            **self._limits,
        }

    # -----------------------------------------------------------------------------------------------------------------

    def _others(self) -> float:
        """The share of the processors that other programs used since all contenders are open."""
        seconds = self._not_ours() - self._work
        return max(0.0, seconds / ((time.perf_counter() - self._began) * machine.processors()))

    def _not_ours(self) -> float:
        """The seconds that the processors have worked for other programs."""
        ours = sum(runner.work for runner in self._runners.values()) + time.process_time()
        return (machine.work() or 0.0) - ours

    def _entrants(self, question: str) -> list[Runner]:
        return [runner for runner in self._runners.values() if question in runner.ms]

    def _references(self, folder: Path) -> dict[str, dict[str, Array]]:
        """The results of PyTorch in float32 on the CPU. Its process continues as a contender."""
        races = self.device == "cpu" and _EXACT in self._names
        runner = Runner(_EXACT if races else "reference", self.subject, "cpu", self._folder)
        self._runners |= {_EXACT: runner} if races else {}
        try:
            return {question: self._checked(runner, question, folder) for question in self.subject.questions}
        finally:
            if not races:
                runner.end()

    def _open(self, name: str, references: Mapping[str, Mapping[str, Array]], folder: Path) -> None:
        """Open a contender. If another runtime fails, record its error; trtmatte must not fail."""
        try:
            self._runners[name] = runner = Runner(name, self.subject, self.device, self._folder)
            for question in self.subject.questions:
                if question in runner.facts["questions"]:
                    self._compare(name, question, self._checked(runner, question, folder), references[question])
        except RunnerError as error:
            if name == "trtmatte":
                raise
            self._runners.pop(name, None)
            self._failed[name] = str(error)

    def _checked(self, runner: Runner, question: str, folder: Path) -> dict[str, Array]:
        path = folder / "result.npz"
        runner.ms[question] = runner.ask("check", question=question, to=str(path))["ms"]
        with np.load(path) as file:
            return dict(file)

    def _compare(self, name: str, question: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        """Raise a CheckError if an output is too far off."""
        for output, actual in found.items():
            error = np.abs(actual.astype(np.float32) - expected[output].reshape(actual.shape))
            mean, most = (
                float(error.mean()),
                float(np.quantile(error.ravel()[:: max(1, error.size // 1_000_000)], 0.999)),
            )
            tolerances = TOLERANCES[self.device.split(":")[0]]
            ours = "our composite" if name.startswith("trtmatte") else "composite"
            allowed = tolerances[ours if output == "composite" else ""]
            self._errors.setdefault(name, {}).setdefault(question, {})[output] = {"mean": mean, "p999": most}
            if not (mean <= allowed[0] and most <= allowed[1]):
                raise CheckError(
                    f"{self.subject.name}: {output} of {name} ({question}) is off by {mean:.2g} on average and "
                    f"{most:.2g} in 999 of 1,000 values; allowed are {allowed[0]:g} and {allowed[1]:g}"
                )

    def _end(self) -> None:
        for runner in self._runners.values():
            runner.end()
