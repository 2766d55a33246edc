"""The Python modules of TensorRT and TensorRT-RTX: load them, report their versions, and collect their messages."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple

from trtmatte.errors import BackendError
from trtmatte.support.packages import release_of

TARGETS: Final = ("tensorrt", "tensorrt-rtx")

_LOG: Final = logging.getLogger("trtmatte.tensorrt")


class _Binding(NamedTuple):
    title: str
    module: str
    package: str  # what pip installs
    oldest: tuple[int, int]  # the first version whose interface is the one used here


_BINDINGS: Final = {
    "tensorrt": _Binding("TensorRT", "tensorrt", "tensorrt", (10, 3)),
    "tensorrt-rtx": _Binding("TensorRT-RTX", "tensorrt_rtx", "tensorrt-rtx", (1, 4)),
}


def title(target: str) -> str:
    """The name of a target, as NVIDIA writes it."""
    return _binding(target).title


def unavailable_reason(target: str) -> str | None:
    """The reason why a target's bindings cannot be used, with the remedy; None if they can."""
    binding = _binding(target)
    install = f"pip install --upgrade {binding.package}"
    if importlib.util.find_spec(binding.module) is None:
        return f"{binding.title} is not installed: {install}"
    try:
        module = importlib.import_module(binding.module)
        found = release_of(module.__version__)
    except (Exception, SystemExit) as error:  # what a missing library makes of it
        return f"{binding.title} is installed but cannot be loaded ({error}): {install}"
    if found < binding.oldest:
        oldest = ".".join(map(str, binding.oldest))
        return f"{binding.title} {module.__version__} is installed; expected {oldest} or later: {install}"
    return None


def load(target: str) -> Any:
    """The module of a target's bindings, or a BackendError with the remedy."""
    reason = unavailable_reason(target)
    if reason is not None:
        raise BackendError(reason)
    return importlib.import_module(_binding(target).module)


def version(target: str) -> str:
    """The full version of a target's library."""
    return str(load(target).__version__)


def log(target: str) -> Log:
    """The only logger of a target: the library keeps the first logger that it gets and ignores others."""
    return _log(target, load(target))


@cache
def _log(target: str, module: Any) -> Log:
    return Log(module)


class Log:
    """Pass messages on to `logging`, and collect errors so that they can be raised as an exception."""

    def __init__(self, module: Any) -> None:
        self._recorders: list[list[str]] = []
        self._lock = threading.Lock()
        severity = module.ILogger
        self._levels = {
            severity.INTERNAL_ERROR: logging.ERROR,
            severity.ERROR: logging.ERROR,
            severity.WARNING: logging.INFO,  # of no consequence to users: hints about weights, memory, other loggers
            severity.INFO: logging.DEBUG,
        }
        self.native = _native(module, self._take)

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """Collect the errors that are reported in this block, by any thread."""
        errors: list[str] = []
        with self._lock:
            self._recorders.append(errors)
        try:
            yield errors
        finally:
            with self._lock:
                self._recorders = [each for each in self._recorders if each is not errors]

    def _take(self, severity: Any, message: str) -> None:
        level = self._levels.get(severity)
        if level is None:
            return
        with self._lock:
            recorders = self._recorders if level == logging.ERROR else []
            for errors in recorders:
                errors.append(message.strip())
        if not recorders:
            _LOG.log(level, "%s", message.strip())


def _native(module: Any, take: Any) -> Any:
    class Native(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            take(severity, message)

    return Native()


def _binding(target: str) -> _Binding:
    if target not in _BINDINGS:
        raise BackendError(f"target is {target!r}; expected one of {', '.join(_BINDINGS)}")
    return _BINDINGS[target]
