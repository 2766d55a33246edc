"""Progress of a build on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trtmatte.progress import bars, console

__all__ = ["steps"]


@contextmanager
def steps(quiet: bool = False) -> Iterator[Callable[[str, float], None] | None]:
    """A bar for each step of a build, which is told how much of it is done, 0…1."""
    rich = None if quiet else bars()
    if rich is None:
        yield None
        return
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeElapsedColumn())
    with rich.Progress(*columns, console=console(), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=done)

        yield advance
