"""Matte single pictures. Other threads read and write pictures while the network runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.api import Engine, Session
from trtmatte.errors import FrameError, InputError, SettingError
from trtmatte.format.stages import PLATE
from trtmatte.media import still
from trtmatte.media.alignment import Aligner
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.claims import files_of, require_replaceable
from trtmatte.media.padding import PATCH, crop_to, multiple_of, pad_to
from trtmatte.media.still import Still
from trtmatte.media.targets import KINDS
from trtmatte.media.writer_threads import PictureWriters
from trtmatte.support.limits import Limits
from trtmatte.support.options import option
from trtmatte.support.read_ahead import ReadAhead

__all__ = ["Task", "convert"]

Array = np.ndarray[Any, Any]

_AHEAD: Final = 1  # pictures that are read before they are needed: they can be large
_SHAPES: Final = 4  # of pictures, for each doubling of width:height: within one they are stretched by a tenth at most


@dataclass(frozen=True)
class Task:
    """A picture, its plate, and the files for its mattes by the names of `KINDS`."""

    source: Path
    places: Mapping[str, Path]
    plate: Path | None = None


@dataclass(frozen=True)
class _Read:
    task: Task
    picture: Still
    plate: Array | None


def convert(
    tasks: Sequence[Task],
    engine: Engine | Callable[[tuple[int, int]], Engine],
    *,
    background: Any = None,
    align: bool = False,
    quality: int = 95,
    done: Callable[[int], object] = lambda count: None,
    tell: Callable[[str], object] = lambda message: None,
    reads: Sequence[str | Path] = (),
    safe: bool | Limits = False,
    **session: Any,
) -> list[InputError]:
    """Matte pictures. Returns the errors of the pictures that could not be read; the others are written.

    `engine` is an engine, or a function that returns the engine for a size; it is called once for each aspect ratio.
    `done` is called with the number of pictures so far, `tell` with messages. An error of writing is raised, since the
    next picture could not be written either. No file that is read is overwritten; `reads` are further ones, such as a
    model. `safe` sets limits for files of strangers: True for the usual ones, or `Limits`.
    """
    limits = Limits.of(safe)
    _require_replaceable(tasks, background, engine, *reads)
    outputs = tuple(KINDS[name] for name in tasks[0].places)
    behind = FrameBackground(background if "composite" in outputs else None, limits=limits)
    session |= {"safe": limits} if limits else {}
    sessions = _Sessions(engine, outputs=outputs, background=behind.fixed, **session)
    problems: list[InputError] = []
    ahead = ReadAhead((_read(task, limits) for task in tasks), _AHEAD)
    try:
        with PictureWriters() as writers, still.without_warnings():
            for count, read in enumerate(ahead):
                if isinstance(read, InputError):
                    problems.append(read)
                else:
                    try:
                        mattes = _mattes(sessions, read, behind, align, tell)
                        writers.submit(partial(_write, read, mattes, quality))
                    except FrameError as error:
                        problems.append(InputError(f"{read.task.source}: {error}"))
                done(count + 1)
    finally:
        ahead.close()
        sessions.close()
    return problems


class _Sessions:
    """The sessions: one for all pictures, or one for each aspect ratio if a function returns the engines.

    A network sees all pictures in one size, so a tall picture would be squeezed in the engine of a wide one.
    """

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
        whole = multiple_of(PATCH, size)
        try:
            return self._engine(size)
        except SettingError:
            if size == whole:
                raise
            return self._engine(whole)  # models that refine in patches are for whole ones

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


def _write(read: _Read, mattes: Mapping[str, Array], quality: int) -> None:
    for name, path in read.task.places.items():
        about = {} if name == "alpha" else {"profile": read.picture.profile, "exif": read.picture.exif}
        still.write(mattes[name], path, quality=quality, **about)


def _require_replaceable(tasks: Sequence[Task], background: Any, engine: Any, *reads: str | Path) -> None:
    files = [path for task in tasks for path in (task.source, task.plate) if path is not None]
    files += [*files_of(background), *map(Path, reads)]
    files += [engine.path] if isinstance(engine, Engine) and engine.path else []
    require_replaceable((place for task in tasks for place in task.places.values()), files)


def _read(task: Task, limits: Limits | None) -> _Read | InputError:
    try:
        plate = None if task.plate is None else still.read(task.plate, limits).pixels
        return _Read(task, still.read(task.source, limits), plate)
    except InputError as error:
        return error


def _mattes(
    sessions: _Sessions, read: _Read, behind: FrameBackground, align: bool, tell: Callable[[str], object]
) -> dict[str, Array]:
    """Return copies of the mattes by the names of `KINDS`."""
    session = sessions.of(read.picture.size)
    frame, plate = read.picture.pixels, read.plate
    if PLATE in session.engine.program.pictures:
        if plate is None:
            family = session.engine.program.family
            raise SettingError(f"{family} needs the plates, the photographed empty scenes: {option('plate')}")
        if align:
            plate = Aligner(tell=lambda message: tell(f"{read.task.source}: {message}"))(plate, frame)
    elif plate is not None:
        raise SettingError(f"{session.engine.program.family} needs no plate; leave {option('plate')} out")
    if session.engine.program.capacity:
        whole = multiple_of(PATCH, read.picture.size)
        frame, plate = pad_to(frame, whole), None if plate is None else pad_to(plate, multiple_of(PATCH, _size(plate)))
    session.reset()
    width, height = read.picture.size
    matte = session(frame, plate, background=behind.behind((width, height)))
    mattes = {name: crop_to(matte[KINDS[name]], (width, height)).copy() for name in read.task.places}
    if "rgba" in mattes:  # what is cut out is not to be found in the file
        mattes["rgba"] *= mattes["rgba"][..., 3:] > 0
    return mattes


def _size(picture: Array) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
