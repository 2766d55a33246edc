"""A frame under way: its results are complete once `wait` returns."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["DONE", "Pending"]


class Pending(Protocol):
    def wait(self) -> None:
        """Return once the results of the frame are complete."""


class _Done:
    def wait(self) -> None:
        return


DONE: Final[Pending] = _Done()
"""The frame is complete already, or its results stay on the device, where CUDA streams keep the order."""
