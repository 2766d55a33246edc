"""Progress on a terminal where rich is installed; silence otherwise."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bars", "console", "frames"]


@contextmanager
def frames(total: int | None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar with frames per second and the time that is left; it is told how many frames are done."""
    rich = None if quiet else bars()
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
    with rich.Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("frames", total=total)
        yield lambda done: bar.update(task, completed=done)


def bars() -> Any:
    """rich.progress, where there is something to show it on."""
    if not sys.stderr.isatty():
        return None
    try:
        return importlib.import_module("rich.progress")
    except ImportError:
        return None


def console() -> Any:
    return importlib.import_module("rich.console").Console(stderr=True)
