"""Progress on a terminal where rich is installed; silence otherwise."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["frames", "steps"]

Advance = Callable[[int], None]


@contextmanager
def steps(quiet: bool = False) -> Iterator[Callable[[str, float], None] | None]:
    """A bar for each step of a build, which is told how much of it is done, 0…1."""
    rich = None if quiet else _rich()
    if rich is None:
        yield None
        return
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeElapsedColumn())
    with rich.Progress(*columns, console=_console(), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=done)

        yield advance


@contextmanager
def frames(total: int | None, quiet: bool = False) -> Iterator[Advance]:
    """A bar with frames per second and the time that is left; it is told how many frames are done."""
    rich = None if quiet else _rich()
    if rich is None:
        yield lambda _done: None
        return

    class Rate(rich.ProgressColumn):  # type: ignore[name-defined,misc]
        def render(self, task: Any) -> str:
            return f"{task.finished_speed or task.speed or 0:.1f} fps"

    columns = (
        rich.MofNCompleteColumn(),
        rich.BarColumn(),
        Rate(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=_console(), transient=True) as bar:
        task = bar.add_task("frames", total=total)
        yield lambda done: bar.update(task, completed=done)


def _rich() -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        return importlib.import_module("rich.progress")
    except ImportError:
        return None


def _console() -> Any:
    return importlib.import_module("rich.console").Console(stderr=True)
