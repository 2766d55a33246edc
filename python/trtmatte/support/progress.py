"""Progress bars on a terminal or in a notebook, if rich is installed; otherwise nothing is shown."""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trtmatte.support.text import one_line

__all__ = ["bytes_done", "frames", "steps"]


@contextmanager
def frames(total: int | None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar with frames per second and the time that is left. It takes the number of frames that are done."""
    rich = None if quiet else _bars()
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
    with _shown(rich, columns) as bar:
        task = bar.add_task("frames", total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def steps(quiet: bool = False) -> Iterator[Callable[[str, float], None] | None]:
    """A bar for each step of a build. It takes the name of a step and the part of it that is done, 0…1."""
    rich = None if quiet else _bars()
    if rich is None:
        yield None
        return
    columns = (rich.TextColumn("{task.description}", markup=False), rich.BarColumn(), rich.TimeElapsedColumn())
    with _shown(rich, columns) as bar:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(one_line(what), total=1.0)
            bar.update(tasks[what], completed=done)

        yield advance


@contextmanager
def bytes_done(label: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar of a download. It takes the number of bytes that came since the last call."""
    rich = _bars()
    if rich is None:
        yield lambda _count: None
        return
    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
    )
    with _shown(rich, columns) as bar:
        task = bar.add_task(one_line(label), total=total, completed=done)
        yield lambda count: bar.advance(task, count)


def _bars() -> Any:
    """The module rich.progress, if it is installed and there is a terminal or a notebook."""
    try:
        if not (_is_terminal() or _is_notebook()):
            return None
        return importlib.import_module("rich.progress")
    except ImportError:
        return None


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _is_notebook() -> bool:
    """Report if this is a notebook that shows widgets, which rich needs for a bar. IPython on a terminal is none."""
    if not hasattr(builtins, "get_ipython"):
        return False
    importlib.import_module("ipywidgets")
    return bool(importlib.import_module("rich.console").Console(stderr=True).is_jupyter)


def _shown(rich: Any, columns: Any) -> Any:
    console = importlib.import_module("rich.console").Console(stderr=True)
    return rich.Progress(*columns, console=console, transient=True)
