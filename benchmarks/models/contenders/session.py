"""trtmatte's sessions, as its README shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import trtmatte
from benchmarks.models import weights
from benchmarks.models.contenders.base import Array, Contender, plate
from benchmarks.models.subjects import GREEN, Subject
from trtmatte.reports import profile as profiling
from trtmatte.runtime.choice import choose
from trtmatte.runtime.networks import load_networks


class Sessions(Contender):
    questions = ("frame", "tensor", "device")

    def __init__(self, subject: Subject, device: str, folder: Path, backend: str = "auto") -> None:
        super().__init__(subject, device, folder)
        self._engine = trtmatte.load(weights.engine_path(subject, folder))
        self._options: dict[str, Any] = {"backend": backend, "device": device}
        self._sessions: dict[str, list[Any]] = {}
        self._threads = ThreadPoolExecutor(subject.streams) if subject.streams > 1 else None
        self._of("frame")

    def given(self, question: str, seed: int) -> Any:
        given = super().given(question, seed)
        if question == "device" or (question == "tensor" and self.device != "cpu"):
            import torch

            given = torch.from_numpy(given).to(self.device)
            return given.half() if question == "tensor" and self.device != "cpu" else given
        return given

    def run(self, question: str, given: Any) -> Any:
        sessions = self._of(question)
        if self._threads is None:
            return sessions[0](given)
        results = list(self._threads.map(lambda session: session(given), sessions))
        return results[0]

    def got(self, question: str, result: Any) -> dict[str, Array]:
        names = self._of(question)[0].outputs
        return {name: np.asarray(each, order="C") for name, each in zip(names, result.numpy(), strict=True)}

    def wait(self) -> None:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize()

    def reset(self) -> None:
        for sessions in self._sessions.values():
            for each in sessions:
                each.reset()

    def facts(self) -> dict[str, Any]:
        session = self._of("frame")[0]
        return {"backend": session.backend, "note": session.stats().note}

    def profile(self, frames: int) -> dict[str, Any]:
        """The time of each stage of a frame, on one session."""
        return profiling.profile(self._engine, frames=frames, batch=self.subject.batch, **self._options).to_json()

    def _of(self, question: str) -> list[Any]:
        if question not in self._sessions:
            alpha_alone = self.subject.alpha_alone
            form: dict[str, Any] = {"outputs": ("composite",), "background": GREEN}
            if question == "tensor":
                dtype = "float32" if self.device == "cpu" else "float16"
                form = {"outputs": ("pha",) if alpha_alone else ("fgr", "pha"), "dtype": dtype, "layout": "CHW"}
            elif alpha_alone:
                form["raw_foreground"] = True  # what the others show
            if self.subject.family == "bgmv2":
                form["plate"] = plate(self.subject)
            self._sessions[question] = [
                self._engine.session(**self._options, **form) for _ in range(self.subject.streams)
            ]
        return self._sessions[question]


class Network(Contender):
    """The network stage alone, with the arrays of a session and its states: the lower limit of any session."""

    questions = ("frame",)

    def __init__(self, subject: Subject, device: str, folder: Path, backend: str) -> None:
        super().__init__(subject, device, folder)
        engine = trtmatte.load(weights.engine_path(subject, folder))
        (stage,) = engine.program.networks
        network = load_networks(engine, choose(backend, "cpu", engine), 0)[stage.name]
        tensors = {
            name: np.zeros(tuple(map(int, each.shape)), each.dtype) for name, each in engine.program.tensors.items()
        }
        seen = next(name for name in stage.inputs if name not in {state.input for state in engine.program.states})
        tensors[seen][:] = np.random.default_rng(0).random(tensors[seen].shape)
        turned = {state.input: tensors[state.output] for state in engine.program.states}
        turned |= {state.output: tensors[state.input] for state in engine.program.states}
        self._runs = [
            network.bind({name: side[name] for name in stage.inputs}, {name: side[name] for name in stage.outputs})
            for side in (tensors, {**tensors, **turned})
        ]

    def run(self, question: str, given: Any) -> None:
        self._runs.reverse()
        self._runs[0]()

    def got(self, question: str, result: Any) -> dict[str, Array]:
        return {}
