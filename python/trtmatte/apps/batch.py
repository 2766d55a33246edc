"""A batch service without a server: requests in lines, answers in the order in which they are complete.

Threads read and decode the pictures and encode the mattes while the network runs. Pictures of any sizes share a batch;
if the network sees the frame's aspect ratio, those of about the same one do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte.apps.matting import Matting
from trtmatte.errors import FrameError, InputError, OutputError
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.request_lines import Key, RequestError, RequestLines, answer, refusal
from trtmatte.media.still import Still
from trtmatte.media.writer_threads import PictureWriters
from trtmatte.support.limits import Limits

__all__ = ["Groups", "Job", "Served", "Service"]

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

_LINGER: Final = 0.02  # seconds in which another picture may come before a batch runs that is not full
_THREADS: Final = 2  # that decode
_WAITING: Final = 8  # requests that are read and not answered, at least


@dataclass
class Served:
    """The numbers of requests that were answered with a picture, and with an error."""

    matted: int = 0
    failed: int = 0


class Job(NamedTuple):
    """A request whose picture is decoded."""

    key: Key
    picture: Still


_NO_JOB: Final = Job({}, Still(np.empty((0, 0, 3), np.uint8)))


class Groups:
    """The pictures that wait, by their shape: a batch has pictures of one."""

    def __init__(self, batch: int, shape: Callable[[Size], int]) -> None:
        self._batch, self._shape = batch, shape
        self._groups: dict[int, list[Job]] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, job: Job) -> list[Job]:
        """Add a picture. Returns its group if that is full now, and otherwise nothing."""
        shape = self._shape(job.picture.size)
        group = self._groups.setdefault(shape, [])
        group.append(job)
        return self._groups.pop(shape) if len(group) == self._batch else []

    def oldest(self) -> list[Job]:
        """Take the group that began first."""
        return self._groups.pop(next(iter(self._groups)))


class Service:
    """Answers requests until their lines end. Few are held at a time: meanwhile no further line is read."""

    def __init__(
        self,
        lines: RequestLines,
        write: Callable[[bytes], object],
        single: Matting | None,
        several: Matting | None = None,
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
        self._single, self._several = single, several
        self._shape = several.shape if several else lambda size: 0
        self._kind, self._batch, self._format, self._quality = kind, batch, format, quality
        self._limits = Limits.of(safe)
        self._behind = FrameBackground(background if kind == "composite" else None, limits=self._limits)
        self._served = Served()
        self._room = threading.Semaphore(max(_WAITING, 2 * batch))
        self._decoded: queue.SimpleQueue[Job | BaseException | None] = queue.SimpleQueue()
        self._turn = threading.Lock()  # held while an answer is written, which a slow reader can make long
        self._counting = threading.Lock()
        self._coming = 0  # requests that are being decoded
        self._ends = False

    def serve(self) -> Served:
        reader = threading.Thread(target=self._read, name="trtmatte-requests", daemon=True)
        reader.start()
        try:
            with PictureWriters() as self._writers, still.without_warnings():
                for jobs in self._batches():
                    self._matte(jobs)
        finally:
            self._ends = True
            self._lines.stop()
            self._room.release()  # the reader may wait for it
        reader.join()
        return self._served

    def _batches(self) -> Iterator[list[Job]]:
        """Give batches that are full, and others when no picture comes."""
        groups = Groups(self._batch, self._shape)
        while (job := self._next(bool(groups))) is not None:
            if job is _NO_JOB:
                yield groups.oldest()
            elif full := groups.add(job):
                yield full
        while groups:
            yield groups.oldest()

    def _next(self, others_wait: bool) -> Job | None:
        """Return the next picture, or None at the end. If others wait and none comes, it is `_NO_JOB`."""
        while True:
            try:
                job = self._decoded.get(timeout=_LINGER if others_wait else None)
            except queue.Empty:
                if not self._coming:
                    return _NO_JOB
                continue
            if isinstance(job, BaseException):
                raise job
            return job

    def _matte(self, jobs: Sequence[Job]) -> None:
        alone = self._single is not None and (self._several is None or 2 * len(jobs) < self._batch)
        for group in [[job] for job in jobs] if alone else [jobs]:
            matting = self._single if alone else self._several
            assert matting is not None
            try:
                mattes = matting.together([job.picture.pixels for job in group], self._behind)
            except (FrameError, InputError) as error:
                if len(group) > 1:  # one of them is at fault, and the others are not
                    for job in group:
                        self._matte([job])
                else:
                    self._answer(refusal(group[0].key, error), failed=True)
                continue
            for job, matte in zip(group, mattes, strict=True):
                encode = partial(self._raising, self._encode, job, matte[self._kind])
                self._writers.submit(encode, matte[self._kind].nbytes)

    def _encode(self, job: Job, matte: Array) -> None:
        about: dict[str, Any] = {"quality": self._quality}
        about |= {} if self._kind == "alpha" else {"profile": job.picture.profile, "exif": job.picture.exif}
        try:
            image = still.encoded(matte, self._format, **about)
        except OutputError as error:  # such as WebP's 16,383 pixels
            self._answer(refusal(job.key, error), failed=True)
        else:
            self._answer(answer(job.key, image))

    def _answer(self, line: bytes, *, failed: bool = False) -> None:
        with self._turn:
            self._write(line)
            self._served.failed += failed
            self._served.matted += not failed
            self._done(self._served.failed + self._served.matted)
        self._room.release()

    def _read(self) -> None:
        try:
            with ThreadPoolExecutor(_THREADS, "trtmatte-reading") as pool:
                for number, line in self._lines:
                    self._room.acquire()
                    if self._ends:
                        return
                    with self._counting:
                        self._coming += 1
                    pool.submit(self._raising, self._decode, number, line)
            self._decoded.put(None)
        except BaseException as error:
            self._decoded.put(error)

    def _decode(self, number: int, line: bytes) -> None:
        key: Key = {}
        try:
            request = self._lines.request(number, line)
            key = request.key
            self._decoded.put(Job(key, still.read(request.picture, self._limits)))
        except InputError as error:
            self._answer(refusal(error.key if isinstance(error, RequestError) else key, error), failed=True)
        finally:
            with self._counting:
                self._coming -= 1

    def _raising(self, work: Callable[..., None], *given: Any) -> None:
        """Do the work of a pool's thread. Its error is raised in the main one at once, even if no request comes."""
        try:
            work(*given)
        except BaseException as error:
            self._decoded.put(error)
            raise
