"""A contender, as the worker that times it sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.subjects import GREEN, Subject

Array = np.ndarray[Any, Any]


class Contender:
    """Opened for a subject on a device, "cpu" or "cuda". What is timed is `run`, then `wait`.

    `questions` are those that it has an answer to; an empty answer of `got` cannot be compared with anything.
    """

    questions: tuple[str, ...] = ("frame", "tensor")

    def __init__(self, subject: Subject, device: str, folder: Path) -> None:
        self.subject, self.device, self.folder = subject, device, folder

    def given(self, question: str, seed: int) -> Any:
        """The input that its user has before a frame."""
        return self.subject.planes(seed) if question == "tensor" else self.subject.picture(seed)

    def run(self, question: str, given: Any) -> Any:
        raise NotImplementedError

    def got(self, question: str, result: Any) -> dict[str, Array]:
        """The outputs that its user gets: `composite`, or `pha` and, where the model makes one, `fgr`."""
        raise NotImplementedError

    def wait(self) -> None:
        """Until the device is done."""

    def reset(self) -> None:
        """Begins another stream."""

    def facts(self) -> dict[str, Any]:
        """Facts about it for the report."""
        return {}


def green_planes() -> Array:
    return np.array(GREEN, np.float32).reshape(3, 1, 1) / 255


def plate(subject: Subject) -> Array:
    """The photographed empty scene, for BackgroundMattingV2."""
    return subject.picture(9)
