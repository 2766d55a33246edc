"""A batch service without a server: requests in lines, answers in the order in which they are complete."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from trtmatte.apps.picture_queue import Mattes, PictureQueue, Wanted
from trtmatte.errors import FrameError, InputError, OutputError
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.request_lines import Key, RequestError, RequestLines, answer, refusal
from trtmatte.support.limits import Limits

__all__ = ["Served", "Service"]

_WAITING: Final = 8  # requests that are read and not answered, at least
_OF_THE_PICTURE: Final = (FrameError, InputError, OutputError)  # errors that are one picture's own


@dataclass
class Served:
    """The numbers of requests that were answered with a picture, and with an error."""

    matted: int = 0
    failed: int = 0


class Service:
    """Answers requests until their lines end. Few are held at a time: meanwhile no further line is read."""

    def __init__(
        self,
        lines: RequestLines,
        write: Callable[[bytes], object],
        single: Mattes | None,
        several: Mattes | None = None,
        *,
        kind: str,
        batch: int = 1,
        background: Any = None,
        format: str = "png",
        quality: int = 95,
        done: Callable[[int], object] = lambda count: None,
        safe: bool | Limits = False,
    ) -> None:
        """`single` mattes one picture at a time, `several` a batch of pictures; one of them may be None.

        A batch that is less than half full is left to `single`. `write` gets the lines of the answers, from several
        threads in turn, and `done` their number so far.
        """
        self._lines, self._write, self._done = lines, write, done
        limits = Limits.of(safe)
        behind = FrameBackground(background if kind == "composite" else None, limits=limits)
        self._wanted = Wanted(kind, behind=behind, format=format, quality=quality)
        most = max(_WAITING, 2 * batch)
        self._pictures = PictureQueue(lambda wanted: (single, several), batch=batch, room=most, limits=limits)
        self._served = Served()
        self._room = threading.Semaphore(most)
        self._turn = threading.Lock()  # held while an answer is written, which a slow reader can make long
        self._over: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._ends = False

    def serve(self) -> Served:
        reader = threading.Thread(target=self._read, name="trtmatte-requests", daemon=True)
        reader.start()
        try:
            if (error := self._over.get()) is not None:
                raise error
        finally:
            self._ends = True
            self._lines.stop()
            self._room.release()  # the reader may wait for it
            self._pictures.drop()
        reader.join()
        return self._served

    def _read(self) -> None:
        try:
            for number, line in self._lines:
                self._room.acquire()
                if self._ends:
                    return
                self._take(number, line)
            self._pictures.finish()
            self._over.put(None)
        except BaseException as error:
            self._over.put(error)

    def _take(self, number: int, line: bytes) -> None:
        try:
            request = self._lines.request(number, line)
        except RequestError as error:
            self._answer(refusal(error.key, error), failed=True)
        else:
            picture = self._pictures.submit(request.picture, self._wanted)
            picture.add_done_callback(partial(self._made, request.key))

    def _made(self, key: Key, picture: Future[bytes]) -> None:
        """Answer a request. An error that is not the picture's own ends the service."""
        if picture.cancelled():
            return
        try:
            error = picture.exception()
            if error is None:
                self._answer(answer(key, picture.result()))
            elif isinstance(error, _OF_THE_PICTURE):
                self._answer(refusal(key, error), failed=True)
            else:
                raise error
        except BaseException as error:
            self._over.put(error)

    def _answer(self, line: bytes, *, failed: bool = False) -> None:
        with self._turn:
            self._write(line)
            self._served.failed += failed
            self._served.matted += not failed
            self._done(self._served.failed + self._served.matted)
        self._room.release()
