"""CUDA graphs: work is captured when it comes for the second time."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

_MOST: Final = 32  # graphs: callers who never use an address again would fill the memory with them
_LONGEST_PAUSE: Final = 1024  # frames


class _Captured(NamedTuple):
    graph: Any
    held: object  # what it uses


class Graphs:
    """Runs work on a CUDA stream: directly the first time, when libraries do deferred work, captured the second time,
    by one launch from then on.

    A key stands for everything that the work depends on, above all addresses. The value that the work returns lives as
    long as its graph.

    If a capture fails, `note` gives the reason, and work runs directly. Another attempt follows after a pause, which
    doubles with each failure.
    """

    def __init__(self, stream: Any, capture_obstacle: Callable[[], str]) -> None:
        """`capture_obstacle` gives the reason why the work, which has run once, cannot be captured now, or ""."""
        self._stream, self._capture_obstacle = stream, capture_obstacle
        self._known: OrderedDict[Hashable, _Captured | None] = OrderedDict()
        self._strange = 0  # keys that came for the first time, less those that came again
        self._failures = self._pause = 0
        self.launches = 0
        self.captures = 0
        self.note = ""

    @property
    def keys_never_repeat(self) -> bool:
        """Report if more keys come than graphs are kept."""
        return self._strange > _MOST

    def run(self, key: Hashable, work: Callable[[], object]) -> None:
        comes_again = key in self._known
        self._strange = max(0, self._strange + (-1 if comes_again else 1))
        captured = self._known.get(key) or (self._captured(work) if comes_again else None)
        self._remember(key, captured)
        if captured is None:
            work()
        else:
            captured.graph.launch(self._stream)
            self.launches += 1

    def clear(self) -> None:
        """Drop the graphs of keys that do not come any more."""
        self._known.clear()
        self._strange = 0

    def _remember(self, key: Hashable, captured: _Captured | None) -> None:
        self._known[key] = captured
        self._known.move_to_end(key)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _captured(self, work: Callable[[], object]) -> _Captured | None:
        if self._pause:
            self._pause -= 1
            return None
        if obstacle := self._capture_obstacle():
            self.note = f"frames are not captured: {obstacle}"
            return None
        builder = self._stream.create_graph_builder()
        try:
            with _nothing_collected():
                builder.begin_building(mode="thread_local")
                held = work()
                builder.end_building()
            graph = builder.complete()
        except Exception as error:  # the libraries that take part share no base of their errors
            self._failures += 1
            self._pause = min(2**self._failures, _LONGEST_PAUSE)
            self.note = f"frames are not captured: {error}"
            return None
        finally:
            with suppress(Exception):  # a capture that went wrong says so once more where it is ended
                builder.close()
        self._failures, self.note = 0, ""
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
