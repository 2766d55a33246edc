"""Reads a caller's iterator ahead, on a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """The same items in the same order, up to `depth` of them read before they are asked for.

    While those that wait weigh more than `most`, by the function `weigh`, no further one is begun.
    What the iterator raises is raised where its item would have come. `close` waits for the item that is being read.
    """

    def __init__(
        self, items: Iterable[T], depth: int, *, weigh: Callable[[T], int] = lambda item: 0, most: int = 0
    ) -> None:
        self._items: Iterator[T] = iter(items)
        self._depth, self._weigh, self._most = depth, weigh, most
        self._ready: deque[T] = deque()
        self._error: BaseException | None = None
        self._ended = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="trtmatte-reading", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def waiting(self) -> list[T]:
        """Return the items that are read and not asked for yet."""
        with self._changed:
            return list(self._ready)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._ready.clear()

    def _read(self) -> None:
        try:
            while self._has_room():
                item = next(self._items)
                with self._changed:
                    self._ready.append(item)
                    self._changed.notify_all()
        except StopIteration:
            pass
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._takes_more() or self._closing)
            return not self._closing

    def _takes_more(self) -> bool:
        return len(self._ready) < self._depth and sum(map(self._weigh, self._ready)) <= self._most
