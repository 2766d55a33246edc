"""CUDA graphs: work is captured when it comes for the second time."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

_MOST: Final = 16  # graphs a side: callers who never use an address again would fill the memory with them


class _Captured(NamedTuple):
    graph: Any
    held: object  # what it uses


class Graphs:
    """Runs work on a CUDA stream: directly the first time, when libraries do deferred work, captured the second time,
    by one launch from then on.

    A key stands for everything that the work depends on, above all addresses. The value that the work returns lives as
    long as its graph.

    If a capture fails, work runs directly from then on, and `note` gives the reason.
    """

    def __init__(self, stream: Any, capture_obstacle: Callable[[], str]) -> None:
        """`capture_obstacle` gives the reason why the work, which has run once, cannot be captured now, or ""."""
        self._stream, self._capture_obstacle = stream, capture_obstacle
        self._failed = False
        self._known: OrderedDict[Hashable, _Captured | None] = OrderedDict()
        self.launches = 0
        self.captures = 0
        self.note = ""

    def run(self, key: Hashable, work: Callable[[], object]) -> None:
        if self._failed:
            work()
        elif key not in self._known:
            work()
            self._remember(key, None)
        else:
            self._launch(key, work)

    def clear(self) -> None:
        """Drop the graphs of a size that frames no longer have."""
        self._known.clear()

    def _launch(self, key: Hashable, work: Callable[[], object]) -> None:
        known = self._known[key] or (None if self._is_obstructed() else self._captured(work))
        if known is None:
            work()
            return
        self._remember(key, known)
        known.graph.launch(self._stream)
        self.launches += 1

    def _is_obstructed(self) -> bool:
        obstacle = self._capture_obstacle()
        self.note = f"frames are not captured: {obstacle}" if obstacle else ""
        return bool(obstacle)

    def _remember(self, key: Hashable, captured: _Captured | None) -> None:
        self._known[key] = captured
        self._known.move_to_end(key)
        if len(self._known) > 2 * _MOST:
            self._known.popitem(last=False)

    def _captured(self, work: Callable[[], object]) -> _Captured | None:
        builder = self._stream.create_graph_builder()
        try:
            with _nothing_collected():
                builder.begin_building(mode="thread_local")
                held = work()
                builder.end_building()
            graph = builder.complete()
        except Exception as error:  # the libraries that take part share no base of their errors
            self._failed, self.note = True, f"frames are not captured: {error}"
            return None
        finally:
            with suppress(Exception):  # a capture that went wrong says so once more where it is ended
                builder.close()
        self.captures += 1
        return _Captured(graph, held)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Pause the garbage collector: freeing device memory invalidates a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
