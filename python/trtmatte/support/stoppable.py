"""Reading from a pipe that may be silent for ever."""

from __future__ import annotations

import io
import os
import select
from typing import Any, BinaryIO, Final

__all__ = ["StoppableInput"]

_INTERVAL: Final = 0.1  # seconds


class StoppableInput:
    """The bytes of a pipe until `stop` is called, by another thread or a signal."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe: Any = getattr(pipe, "raw", pipe)  # what a buffer holds could not be waited for
        self._events: Any = None
        self.is_stopped = False
        if os.name != "nt":  # where pipes cannot be waited for
            try:
                number = self._pipe.fileno()
            except io.UnsupportedOperation:  # bytes in memory
                return
            self._events = select.poll()
            self._events.register(number, select.POLLIN)

    def readinto(self, buffer: memoryview) -> int:
        """Read what is there, or wait for it. Returns 0 at the end and when it is stopped."""
        while not self.is_stopped:
            if self._events is None or self._events.poll(_INTERVAL * 1000):
                return self._pipe.readinto(buffer) or 0
        return 0

    def stop(self) -> None:
        self.is_stopped = True
