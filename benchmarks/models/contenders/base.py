"""The interface of a contender."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.subjects import GREEN, Subject

Array = np.ndarray[Any, Any]


class Contender(ABC):
    """A way to run a subject on a device, "cpu" or "cuda". The time of `run` and `wait` is measured.

    `questions` are the questions that it can answer. An empty result of `got` is not compared.
    """

    questions: tuple[str, ...] = ("frame", "tensor")

    def __init__(self, subject: Subject, device: str, folder: Path) -> None:
        self.subject, self.device, self.folder = subject, device, folder

    def given(self, question: str, seed: int) -> Any:
        """The input for a frame, in the form that a user has it."""
        return self.subject.planes(seed) if question == "tensor" else self.subject.picture(seed)

    @abstractmethod
    def run(self, question: str, given: Any) -> Any:
        """The result for the input of a question."""

    @abstractmethod
    def got(self, question: str, result: Any) -> dict[str, Array]:
        """The outputs that a user gets: `composite`, or `pha` and, if the model has it, `fgr`."""

    def wait(self) -> None:  # noqa: B027, since most have nothing to wait for
        """Wait until the device is done."""

    def reset(self) -> None:  # noqa: B027, since most keep nothing between frames
        """Begin another stream."""

    def facts(self) -> dict[str, Any]:
        """Facts about the contender for the report."""
        return {}


def green_planes() -> Array:
    return np.array(GREEN, np.float32).reshape(3, 1, 1) / 255


def plate(subject: Subject) -> Array:
    """The photographed empty scene, for BackgroundMattingV2."""
    return subject.picture(9)
