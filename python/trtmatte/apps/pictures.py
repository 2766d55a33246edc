"""Pictures in, mattes out: each for itself, read and written while the network works on others."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from trtmatte.errors import FrameError, InputError, SettingError
from trtmatte.format.file import Engine
from trtmatte.format.program import PLATE
from trtmatte.media import still
from trtmatte.media.alignment import Aligner
from trtmatte.media.backdrops import Backdrop
from trtmatte.media.still import Still
from trtmatte.media.targets import KINDS
from trtmatte.runtime.session import Session
from trtmatte.support.read_ahead import ReadAhead

__all__ = ["Task", "convert"]

Array = np.ndarray[Any, Any]

_AHEAD: Final = 1  # pictures that are read before they are needed: they can be large
_WRITERS: Final = 2
_SHAPES: Final = 4  # of pictures, for each doubling of width:height: within one they are stretched by a tenth at most
_PATCH: Final = 4  # pixels; what refines in patches needs whole ones


@dataclass(frozen=True)
class Task:
    """A picture, what its scene looks like without the subject, and where its mattes go, by the names of `KINDS`."""

    source: Path
    places: Mapping[str, Path]
    shot: Path | None = None


@dataclass(frozen=True)
class _Read:
    task: Task
    picture: Still
    background: Array | None


def convert(
    tasks: Sequence[Task],
    engine: Engine | Callable[[tuple[int, int]], Engine],
    *,
    backdrop: Any = None,
    align: bool = False,
    quality: int = 95,
    done: Callable[[int], object] = lambda count: None,
    tell: Callable[[str], object] = lambda message: None,
    **session: Any,
) -> list[InputError]:
    """What is wrong with single pictures, which keeps no other from being written.

    `engine` may be what gives one for a size; it is asked once for each shape of picture. `done` is told how many are
    through, `tell` what else there is to say. What cannot be written ends it: the next could not be, either.
    """
    outputs = tuple(KINDS[name] for name in tasks[0].places)
    behind = Backdrop(backdrop if "composite" in outputs else None)
    sessions = _Sessions(engine, outputs=outputs, backdrop=behind.fixed, **session)
    problems: list[InputError] = []
    ahead = ReadAhead(map(_read, tasks), _AHEAD)
    try:
        with _Writers(quality) as writers:
            for count, read in enumerate(ahead):
                if isinstance(read, InputError):
                    problems.append(read)
                else:
                    try:
                        writers.write(read, _mattes(sessions, read, behind, align, tell))
                    except FrameError as error:
                        problems.append(InputError(f"{read.task.source}: {error}"))
                done(count + 1)
    finally:
        ahead.close()
        sessions.close()
    return problems


class _Sessions:
    """One for each shape of picture where there is an engine for each: networks see all pictures in one size, and tall
    ones would be squeezed in a wide one."""

    def __init__(self, engine: Engine | Callable[[tuple[int, int]], Engine], **options: Any) -> None:
        self._engine, self._options = engine, options
        self._sessions: dict[int, Session] = {}

    def of(self, size: tuple[int, int]) -> Session:
        shape = 0 if isinstance(self._engine, Engine) else round(_SHAPES * math.log2(size[0] / size[1]))
        if shape not in self._sessions:
            self._sessions[shape] = self._built(size).session(**self._options)
        return self._sessions[shape]

    def _built(self, size: tuple[int, int]) -> Engine:
        if isinstance(self._engine, Engine):
            return self._engine
        whole = size[0] + -size[0] % _PATCH, size[1] + -size[1] % _PATCH
        try:
            return self._engine(size)
        except SettingError:
            if size == whole:
                raise
            return self._engine(whole)  # models that refine in patches are for whole ones

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


class _Writers:
    """Threads that encode; when they are busy, the next picture waits."""

    def __init__(self, quality: int) -> None:
        self._quality = quality
        self._pool = ThreadPoolExecutor(_WRITERS, "trtmatte-writing")
        self._waiting: deque[Future[None]] = deque()

    def write(self, read: _Read, mattes: Mapping[str, Array]) -> None:
        while len(self._waiting) > _WRITERS:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, read, mattes))

    def _write(self, read: _Read, mattes: Mapping[str, Array]) -> None:
        for name, path in read.task.places.items():
            about = {} if name == "alpha" else {"profile": read.picture.profile, "exif": read.picture.exif}
            still.write(mattes[name], path, quality=self._quality, **about)

    def __enter__(self) -> _Writers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is being written is finished, what waits as well, unless something went wrong."""
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for future in self._waiting:
                future.result()


def _read(task: Task) -> _Read | InputError:
    try:
        background = None if task.shot is None else still.read(task.shot).pixels
        return _Read(task, still.read(task.source), background)
    except InputError as error:
        return error


def _mattes(
    sessions: _Sessions, read: _Read, behind: Backdrop, align: bool, tell: Callable[[str], object]
) -> dict[str, Array]:
    """By the names of `KINDS`, in memory of their own."""
    session = sessions.of(read.picture.size)
    frame, background = read.picture.pixels, read.background
    if PLATE in session.engine.program.pictures:
        if background is None:
            family = session.engine.program.family
            raise SettingError(f"{family} needs the scenes without their subjects: --background-shot")
        if align:
            background = Aligner(tell=lambda message: tell(f"{read.task.source}: {message}"))(background, frame)
    elif background is not None:
        raise SettingError(
            f"{session.engine.program.family} needs no shot of the background; leave --background-shot out"
        )
    if session.engine.program.capacity:
        frame, background = _whole_patches(frame), None if background is None else _whole_patches(background)
    session.reset()
    width, height = read.picture.size
    matte = session(frame, background, backdrop=behind.behind((width, height)))
    mattes = {name: matte[KINDS[name]][:height, :width].copy() for name in read.task.places}
    if "rgba" in mattes:  # what is cut out is not to be found in the file
        mattes["rgba"] *= mattes["rgba"][..., 3:] > 0
    return mattes


def _whole_patches(picture: Array) -> Array:
    """Its last row and column are repeated where it ends within a patch."""
    height, width = picture.shape[:2]
    if not (height % _PATCH or width % _PATCH):
        return picture
    return np.pad(picture, ((0, -height % _PATCH), (0, -width % _PATCH), (0, 0)), mode="edge")
