"""The Python modules of TensorRT and TensorRT-RTX: load them, report their versions, and collect their messages."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from trtmatte.errors import BackendError
from trtmatte.support.packages import release_of

if TYPE_CHECKING:
    import tensorrt

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


def load(target: str) -> tensorrt.Module:
    """The module of a target's bindings, or a BackendError with the remedy."""
    reason = unavailable_reason(target)
    if reason is not None:
        raise BackendError(reason)
    module: tensorrt.Module = importlib.import_module(_binding(target).module)
    return module


def version(target: str) -> str:
    """The full version of a target's library."""
    return load(target).__version__


def builder(target: str) -> tensorrt.Builder:
    """A builder; raises a BackendError with the library's reasons if it does not start, as with an old driver."""
    with log(target).recorded() as errors:
        try:
            return load(target).Builder(log(target).native)
        except TypeError as error:  # "factory function returned nullptr"
            raise _not_started(target, errors or [str(error)]) from error


def runtime(target: str) -> tensorrt.Runtime:
    """A runtime; raises a BackendError with the library's reasons if it does not start, as with an old driver."""
    with log(target).recorded() as errors:
        made = load(target).Runtime(log(target).native)
    if errors:
        # The bindings may have returned an object around nothing, whose deletion would end the process: it is never
        # deleted. They notice the same failure of a builder.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
        builder(target)
    return made


def _not_started(target: str, errors: list[str]) -> BackendError:
    return BackendError(
        f"{title(target)} {version(target)} does not start ({'; '.join(errors)}): update the NVIDIA driver, if "
        "nvidia-smi shows an older CUDA than TensorRT's"
    )


def log(target: str) -> Log:
    """The only logger of a target: the library keeps the first logger that it gets and ignores others."""
    return _log(target, load(target))


@cache
def _log(target: str, module: tensorrt.Module) -> Log:
    return Log(module)


class Log:
    """Pass messages on to `logging`, and collect errors so that they can be raised as an exception."""

    def __init__(self, module: tensorrt.Module) -> None:
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

    def _take(self, severity: tensorrt.ILogger.Severity, message: str) -> None:
        level = self._levels.get(severity)
        if level is None:
            return
        with self._lock:
            recorders = self._recorders if level == logging.ERROR else []
            for errors in recorders:
                errors.append(message.strip())
        if not recorders:
            _LOG.log(level, "%s", message.strip())


def _native(module: tensorrt.Module, take: Callable[[tensorrt.ILogger.Severity, str], None]) -> tensorrt.ILogger:
    class Native(module.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: tensorrt.ILogger.Severity, msg: str) -> None:
            take(severity, msg)

    return Native()


def _binding(target: str) -> _Binding:
    if target not in _BINDINGS:
        raise BackendError(f"target is {target!r}; expected one of {', '.join(_BINDINGS)}")
    return _BINDINGS[target]
