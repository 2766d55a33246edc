"""Pictures that many ask for at once: one worker mattes them, in batches where the engine has a batch.

Threads decode the pictures and encode the mattes while the network runs. Few pictures are decoded ahead, so that those
that wait take no more memory than their files. Pictures of any sizes share a batch; if the network sees the frame's
aspect ratio, those of about the same one do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np

from trtmatte.errors import FrameError, FullError, InputError, SettingError
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.still import Encoded, Still
from trtmatte.media.writer_threads import PictureWriters
from trtmatte.support.limits import Limits

__all__ = ["Groups", "Job", "Mattes", "PictureQueue", "Wanted"]

Array = np.ndarray[Any, Any]
Size = tuple[int, int]

_LINGER: Final = 0.02  # seconds in which another picture may come before a batch runs that is not full
_DECODERS: Final = 2  # threads
_PLAIN: Final = FrameBackground(None)
_RECENT: Final = 0.1  # the weight of the last picture in the mean time of one


class Mattes(Protocol):
    """The part of `Matting` that a queue needs."""

    def shape(self, size: Size) -> int:
        """A number that is the same for pictures that share a batch."""

    def together(self, pictures: Sequence[Array], behind: FrameBackground) -> Sequence[dict[str, Array]]:
        """The mattes of pictures of one shape, by the names of `KINDS`."""


@dataclass(frozen=True)
class Wanted:
    """A wish for a picture: an output, a background for a composite, and the format of the file."""

    kind: str = "rgba"
    post_process: bool = False
    behind: FrameBackground = _PLAIN
    format: str = "png"
    quality: int = 95

    @property
    def session(self) -> Hashable:
        """A value that is the same for pictures that are matted by one session."""
        return self.kind, self.post_process


@dataclass(eq=False)
class Job:
    """A picture that somebody waits for."""

    file: Encoded
    wanted: Wanted
    answer: Future[bytes]
    picture: Still | None = None  # once it is decoded

    @property
    def size(self) -> Size:
        assert self.picture is not None
        return self.picture.size

    @property
    def pixels(self) -> Array:
        assert self.picture is not None
        return self.picture.pixels


class Groups:
    """The pictures that wait, by what they have in common: a batch has pictures of one key."""

    def __init__(self, batch: int, key: Callable[[Job], Hashable]) -> None:
        self._batch, self._key = batch, key
        self._groups: dict[Hashable, list[Job]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, job: Job) -> None:
        self._groups.setdefault(self._key(job), []).append(job)

    def full(self) -> list[Job]:
        """Take a batch that is full, or nothing."""
        for key, group in self._groups.items():
            if len(group) >= self._batch:
                self._groups[key] = group[self._batch :]
                if not self._groups[key]:
                    del self._groups[key]
                return group[: self._batch]
        return []

    def oldest(self) -> list[Job]:
        """Take the group that began first."""
        return self._groups.pop(next(iter(self._groups)))


class PictureQueue:
    """Mattes pictures in the order in which they come. Threads may share it."""

    def __init__(
        self,
        mattings: Callable[[Wanted], tuple[Mattes | None, Mattes | None]],
        *,
        batch: int = 1,
        room: int = 64,
        limits: Limits | None = None,
    ) -> None:
        """`mattings` returns what mattes one picture at a time, and what mattes a batch; one of them may be None.

        A batch that is less than half full is left to the first one. `room` is the number of pictures that may be held.
        """
        self._mattings, self._batch, self._room, self._limits = mattings, batch, room, limits
        self._most_ahead = max(2 * batch, _DECODERS + 1)
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._groups = Groups(batch, self._key)
        self._coming = 0  # pictures that are being decoded
        self._placed = 0.0  # the time at which the last one was complete
        self._held: set[Future[bytes]] = set()
        self._ends = False
        self.seconds = 0.0
        """The mean time that a picture takes the worker, of the last ones."""
        self._threads = [
            *(threading.Thread(target=self._decode, name="trtmatte-decoding", daemon=True) for _ in range(_DECODERS)),
            threading.Thread(target=self._work, name="trtmatte-matting", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """The number of pictures that are held: they wait, or are at work."""
        return len(self._held)

    def submit(self, file: Encoded, wanted: Wanted) -> Future[bytes]:
        """Return the file of the matte, once it is made. Cancelling what is returned takes the picture out again.

        Raises a FullError if no further picture may wait.
        """
        answer: Future[bytes] = Future()
        with self._changed:
            if self._ends:
                raise SettingError("the queue is closed; open another one")
            if len(self._held) >= self._room:
                raise FullError(f"{len(self._held)} pictures wait, and {self._room} may; try again later")
            self._held.add(answer)
            self._waiting.append(Job(file, wanted, answer))
            self._changed.notify_all()
        answer.add_done_callback(self._let_go)
        return answer

    def finish(self) -> None:
        """Return once all pictures are answered. No more are taken."""
        self._end()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """Cancel what waits, and return when what is at work is done. No more pictures are taken."""
        for answer in self._end():
            answer.cancel()
        self.finish()

    def _end(self) -> list[Future[bytes]]:
        """Take no more pictures. Returns the answers that are due."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
            return list(self._held)

    def _let_go(self, answer: Future[bytes]) -> None:
        with self._changed:
            self._held.discard(answer)
            self._changed.notify_all()

    def _key(self, job: Job) -> Hashable:
        several = self._mattings(job.wanted)[1]
        shape = several.shape(job.size) if several else 0
        return job.wanted.session, job.wanted.behind, shape

    def _decode(self) -> None:
        while (job := self._next_file()) is not None:
            try:
                if not job.answer.cancelled():
                    with still.without_warnings():
                        job.picture = still.read(job.file, self._limits)
            except BaseException as error:  # a defect must not leave anybody waiting
                _fail(job, error)
            job.file = Encoded(b"", job.file.name)  # the pixels are enough
            with self._changed:
                self._coming -= 1
                if job.picture is not None:
                    self._place(job)
                self._changed.notify_all()

    def _place(self, job: Job) -> None:
        self._placed = time.perf_counter()
        try:
            self._groups.add(job)
        except BaseException as error:  # the engine of its model cannot be had
            _fail(job, error)

    def _next_file(self) -> Job | None:
        with self._changed:
            while True:
                if self._waiting and self._coming + len(self._groups) < self._most_ahead:
                    self._coming += 1
                    return self._waiting.popleft()
                if self._ends and not self._waiting:
                    return None
                self._changed.wait()

    def _work(self) -> None:
        with PictureWriters() as writers:
            while jobs := self._next_group():
                began = time.perf_counter()
                held = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
                try:
                    self._matte(held, writers)
                except BaseException as error:  # a defect must not leave anybody waiting
                    for job in held:
                        _fail(job, error)
                if held:
                    mean = (time.perf_counter() - began) / len(held)
                    self.seconds += (mean - self.seconds) * (_RECENT if self.seconds else 1)

    def _next_group(self) -> list[Job]:
        """The next batch: a full one, or another when no picture comes. Nothing at the end."""
        with self._changed:
            while not (batch := self._groups.full() or self._left_over()):
                if self._ends and not (self._coming or self._waiting):
                    return []
                self._changed.wait(_LINGER if len(self._groups) else None)
            self._changed.notify_all()  # there is room for decoding
            return batch

    def _left_over(self) -> list[Job]:
        """Take a batch that will not be full soon, or nothing."""
        if not len(self._groups) or self._coming:
            return []
        if self._waiting:  # batches of which none is full may leave no room for others
            return self._groups.oldest() if len(self._groups) >= self._most_ahead else []
        is_over = self._ends or time.perf_counter() - self._placed >= _LINGER
        return self._groups.oldest() if is_over else []

    def _matte(self, jobs: Sequence[Job], writers: PictureWriters) -> None:
        if not jobs:
            return
        single, several = self._mattings(jobs[0].wanted)
        alone = single is not None and (several is None or 2 * len(jobs) < self._batch)
        matting = single if alone else several
        assert matting is not None
        for group in [[job] for job in jobs] if alone else [jobs]:
            try:
                mattes = matting.together([job.pixels for job in group], group[0].wanted.behind)
            except (FrameError, InputError) as error:
                if len(group) > 1:  # one of them is at fault, and the others are not
                    for job in group:
                        self._matte([job], writers)
                else:
                    _fail(group[0], error)
                continue
            for job, matte in zip(group, mattes, strict=True):
                made = matte[job.wanted.kind]
                writers.submit(partial(_encode, job, made), made.nbytes)


def _encode(job: Job, matte: Array) -> None:
    wanted, picture = job.wanted, job.picture
    assert picture is not None
    about: dict[str, Any] = {"quality": wanted.quality, "name": job.file.name}
    about |= {} if wanted.kind == "alpha" else {"profile": picture.profile, "exif": picture.exif}
    try:
        job.answer.set_result(still.encoded(matte, wanted.format, **about))
    except BaseException as error:  # such as WebP's 16,383 pixels
        _fail(job, error)


def _fail(job: Job, error: BaseException) -> None:
    with suppress(InvalidStateError):  # nobody waits any more
        job.answer.set_exception(error)
