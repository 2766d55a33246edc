"""Work that is captured into CUDA graphs once it has been seen twice."""

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
    """Runs work on a stream: at first as it is, which also does what libraries put off until then, the second time
    captured, from then on by one launch. A key stands for all that the work depends on, addresses above all. What the
    work returns stays for as long as its graph does.

    Where capturing fails, work runs as it is from there on, and `note` says why.
    """

    def __init__(self, stream: Any, can_capture: Callable[[], bool]) -> None:
        """`can_capture` says whether the work, which has run once, can be captured now."""
        self._stream, self._can_capture = stream, can_capture
        self._known: OrderedDict[Hashable, _Captured | None] = OrderedDict()
        self.launches = 0
        self.captures = 0
        self.note = ""

    def run(self, key: Hashable, work: Callable[[], object]) -> None:
        if self.note:
            work()
        elif key not in self._known:
            work()
            self._remember(key, None)
        else:
            self._launch(key, work)

    def clear(self) -> None:
        """Those of a size that frames no longer have."""
        self._known.clear()

    def _launch(self, key: Hashable, work: Callable[[], object]) -> None:
        known = self._known[key] or (self._captured(work) if self._can_capture() else None)
        if known is None:
            work()
            return
        self._remember(key, known)
        known.graph.launch(self._stream)
        self.launches += 1

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
            self.note = f"frames are not captured: {error}"
            return None
        finally:
            with suppress(Exception):  # a capture that went wrong says so once more where it is ended
                builder.close()
        self.captures += 1
        return _Captured(graph, held)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Memory that is freed meanwhile would end the capture, and arrays in cycles are freed at any time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
