"""Turns on a session: calls of several threads wait for each other, and none waits for itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trtmatte.errors import FrameError


class Turns:
    """One call at a time. A call from within a call, or in a forked process, is an error: waiting would never end."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come between any two lines: its handler gets past the lock
        self._busy = False
        self._process = os.getpid()

    @contextmanager
    def taken(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise FrameError(
                f"the session was opened by the process {self._process} and this is its child {os.getpid()}, which "
                "has none of its threads: open a session in the child"
            )
        with self._lock:
            if self._busy:
                raise FrameError(
                    "the session is in the middle of a call of this very thread, which a signal handler or an array's "
                    "protocol interrupted: call it when that call has returned"
                )
            try:
                self._busy = True
                yield
            finally:
                self._busy = False
