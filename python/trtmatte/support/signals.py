"""Signals: an interrupted command ends in order and leaves nothing half-written."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["Stopped", "ending", "received", "stopping", "was_raised"]

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_PATIENCE: Final = 2.0  # seconds for a command to end in order
_LESS_PATIENCE: Final = 0.5  # after a second signal
_DONE: Final = 0  # no signal has this number, nor the next
_LOST: Final = 255
_MOMENT: Final = 0.02  # seconds
_SHOW_CURSOR: Final = b"\r\x1b[K\x1b[?25h"  # which a progress bar hides

_first: int | None = None  # signal that this command received


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""


def received() -> int:
    """Return the signal that stopped this command. Without one, somebody raised KeyboardInterrupt."""
    return int(signal.SIGINT) if _first is None else _first


def was_raised() -> bool:
    """Report if a signal raised `Stopped`. A library may have put an error of its own in its place."""
    return _first is not None and not _in_order.is_set()


@contextmanager
def ending(name: str) -> Iterator[None]:
    """Raise `Stopped` in the main thread at Ctrl-C, a request to terminate, or the end of the terminal.

    If the command called `name` does not end soon, because a library does not return, or at a further signal, the
    process ends at once. Files that are being written then keep their temporary names.
    """
    global _first
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _first = None
    with _handled(_stop), _watched(name):
        yield


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first signal that asks to end, however long the rest takes. The second one acts as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, _: Any) -> None:
        _note(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        _in_order.set()
        stop()

    with _handled(handle):
        yield


_in_order: Final = threading.Event()
"""The command ends in order, and may take its time."""


def _stop(number: int, _: Any) -> None:
    _note(number)
    raise Stopped


def _note(number: int) -> None:
    global _first
    _first = number if _first is None else _first


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle the signals. Those that the caller of the process ignores, as `nohup` does, stay ignored."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


@contextmanager
def _watched(name: str) -> Iterator[None]:
    """Let a thread end the process if the main thread does not. It sees signals even while a library keeps that one."""
    if os.name == "nt":  # where pipes cannot be waited for
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    _in_order.clear()
    before, report = signal.set_wakeup_fd(writer, warn_on_full_buffer=False), sys.unraisablehook

    def lost(unraisable: Any) -> None:
        """Python ignores what is raised while an object is dropped. `Stopped` is raised once more, after that."""
        if isinstance(unraisable.exc_value, Stopped):
            os.write(writer, bytes([_LOST]))
        else:
            report(unraisable)

    sys.unraisablehook = lost
    signals = _Signals(reader, threading.get_ident())
    thread = threading.Thread(target=_watch, args=(name, signals), name="trtmatte-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.unraisablehook = report
        signal.set_wakeup_fd(before)
        os.write(writer, bytes([_DONE]))
        thread.join()
        os.close(reader)
        os.close(writer)


def _watch(name: str, signals: _Signals) -> None:
    first = signals.next()
    if first == _DONE:
        return
    second = signals.next(_PATIENCE)
    if second is None and _in_order.is_set():
        second = signals.next()
    if second not in (None, _DONE):
        second = signals.next(_LESS_PATIENCE)
    if second != _DONE:
        _end(name, first or signal.SIGTERM)


class _Signals:
    """Reads the numbers of signals from a pipe. A signal whose error was lost is sent to the thread again."""

    def __init__(self, pipe: int, thread: int) -> None:
        self._pipe, self._thread = pipe, thread
        self._sent = 0  # signals from here, which come back through the pipe

    def next(self, seconds: float | None = None) -> int | None:
        """Return the next signal, or `_DONE`, or None if there is none for this long."""
        while select.select([self._pipe], [], [], seconds)[0]:
            number = os.read(self._pipe, 1)[0]
            if number == _LOST:
                time.sleep(_MOMENT)  # the main thread leaves the place where errors are lost
                self._sent += 1
                signal.pthread_kill(self._thread, received())
            elif number in _SIGNALS and self._sent:
                self._sent -= 1
            elif number == _DONE or number in _SIGNALS:
                return number
        return None


def _end(name: str, number: int) -> None:
    with suppress(OSError):
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"{name}: stopped\n".encode())
    os._exit(128 + number)
