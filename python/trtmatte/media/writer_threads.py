"""Threads that write outputs: one for each output of a video, or a small pool for single pictures."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final

from trtmatte.media.source import Array, Source
from trtmatte.media.targets import Target
from trtmatte.media.writing import Sink

__all__ = ["PictureWriters", "WriterThread", "writer_threads"]

_MOST_THREADS: Final = 8
_MOST_BYTES: Final = 256 << 20  # of pictures that wait to be written


class WriterThread(threading.Thread):
    """Write one kind of output to a sink."""

    def __init__(self, output: str, sink: Sink, waiting: int) -> None:
        """`waiting` is the number of pictures that may wait; `put` blocks for more."""
        super().__init__(name=f"trtmatte-writing-{sink.place}", daemon=True)
        self.output, self._sink = output, sink
        self._queue: queue.Queue[Any] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._done = False
        self.start()

    def put(self, picture: Array, pts: int, duration: int) -> None:
        """Write a picture after those before it. Raises the error of an earlier one."""
        self._raise()
        self._queue.put(lambda: self._sink.write(picture, pts, duration))

    def finish(self, *, whole: bool) -> None:
        self._queue.put(lambda: self._sink.close(whole=whole))
        self._queue.put(None)

    def wait(self) -> None:
        """Return once everything is written."""
        self.join()
        self._raise()
        self._done = True

    def abort(self) -> None:
        """Stop, and remove an incomplete file. A file that is complete stays."""
        if self.is_alive():
            self._error = self._error or InterruptedError()
            self._queue.put(None)
            self.join()
        if not self._done:
            self._sink.abort()

    def run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error is None:
                try:
                    work()
                except BaseException as error:
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


@contextmanager
def writer_threads(
    targets: Sequence[Target], source: Source, *, with_sound: bool, waiting: int, threads: int
) -> Iterator[list[WriterThread]]:
    """A thread for each target. Afterwards all files are complete, or the incomplete ones are removed."""
    new = [each.place.parent for each in targets if each.in_folder and not each.place.parent.exists()]
    opened: list[WriterThread] = []
    try:
        for each in targets:
            sink = each.open(source.facts, with_sound=with_sound, threads=threads)
            try:
                opened.append(WriterThread(each.output, sink, waiting))
            except BaseException:
                sink.abort()
                raise
        yield opened
    finally:
        for thread in opened:
            thread.abort()
        for folder in new:
            with suppress(OSError):  # there is something in it
                folder.rmdir()


class PictureWriters:
    """A pool of threads that encode single pictures. When many wait, or large ones, the next picture waits as well."""

    def __init__(self) -> None:
        self._threads = min(max(2, os.cpu_count() or 1), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(self._threads, "trtmatte-writing")
        self._waiting: deque[tuple[Future[None], int]] = deque()

    def submit(self, write: Callable[[], None], size: int) -> None:
        """Have a picture written, `size` bytes in memory. Raises the error of an earlier one."""
        while len(self._waiting) > 2 * self._threads or (self._waiting and self._size() + size > _MOST_BYTES):
            self._waiting.popleft()[0].result()
        self._waiting.append((self._pool.submit(write), size))

    def _size(self) -> int:
        return sum(size for _, size in self._waiting)

    def __enter__(self) -> PictureWriters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all pictures are written; after an error, drop those that have not begun."""
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for future, _ in self._waiting:
                future.result()
