"""Options in messages: Python's callers read `overwrite=True`, users of a command read its flag, `-y`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["as_flags", "option"]

_NO_VALUE: Final = object()

_flags: Mapping[str, str] | None = None  # of the command that runs


@contextmanager
def as_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Let messages name flags while a command runs. `flags` are those that have another name than their argument."""
    global _flags
    before, _flags = _flags, flags
    try:
        yield
    finally:
        _flags = before


def option(name: str, value: Any = _NO_VALUE) -> str:
    """Return the option as the caller writes it: `raw='4x2@25'` or `--raw 4x2@25`; without a value, its name."""
    if _flags is None:
        return name if value is _NO_VALUE else f"{name}={value!r}"
    flag = _flags.get(name, f"--{name.replace('_', '-')}")
    has_text = value is not _NO_VALUE and not isinstance(value, (bool, type(None)))
    return f"{flag} {value}" if has_text else flag
