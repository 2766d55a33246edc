"""Matte single pictures. Other threads read and write pictures while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.api import Engine
from trtmatte.apps.matting import EngineForSize, Matting
from trtmatte.errors import FrameError, InputError
from trtmatte.media import claims, still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.pipes import StandardOutput
from trtmatte.media.still import Encoded, Still
from trtmatte.media.writer_threads import PictureWriters
from trtmatte.support.limits import Limits
from trtmatte.support.read_ahead import ReadAhead

__all__ = ["Task", "convert", "matted", "require_replaceable", "write"]

Array = np.ndarray[Any, Any]

_AHEAD: Final = 8  # pictures that are read before they are needed
_MOST_BYTES: Final = 256 << 20  # of them, unless a single one is larger


@dataclass(frozen=True)
class Task:
    """A picture, its plate, and the places of its mattes by the names of `KINDS`."""

    source: Path | Encoded
    places: Mapping[str, Path | StandardOutput]
    plate: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files that are written."""
        return [place for place in self.places.values() if isinstance(place, Path)]

    @property
    def reads(self) -> list[Path]:
        """The files that are read."""
        return [path for path in (self.source, self.plate) if isinstance(path, Path)]


@dataclass(frozen=True)
class _Read:
    task: Task
    picture: Still
    plate: Array | None

    @property
    def nbytes(self) -> int:
        """The bytes of the pixels."""
        return self.picture.pixels.nbytes + (0 if self.plate is None else self.plate.nbytes)


def convert(
    tasks: Sequence[Task],
    engine: Engine | EngineForSize,
    *,
    background: Any = None,
    align: bool = False,
    post_process: bool = False,
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
    model. With `post_process`, alphas are masks without grey. `safe` sets limits for files of strangers: True for the
    usual ones, or `Limits`.
    """
    limits = Limits.of(safe)
    require_replaceable(tasks, background, engine, *reads)
    kinds = tuple(tasks[0].places)
    behind = FrameBackground(background if "composite" in kinds else None, limits=limits)
    matting = Matting(engine, kinds, align=align, post_process=post_process, tell=tell, limits=limits, **session)
    problems: list[InputError] = []
    ahead = ReadAhead((_read(task, limits) for task in tasks), _AHEAD, weigh=_weight, most=_MOST_BYTES)
    try:
        with PictureWriters() as writers, still.without_warnings():
            for count, read in enumerate(ahead):
                for each in (read, *ahead.waiting()):
                    if isinstance(each, _Read):
                        matting.prepare(each.picture.size)
                if isinstance(read, InputError):
                    problems.append(read)
                else:
                    try:
                        mattes = matted(matting, read.task, read.picture, read.plate, behind)
                        size = sum(matte.nbytes for matte in mattes.values())
                        writers.submit(partial(write, read.task, read.picture, mattes, quality), size)
                    except InputError as error:
                        problems.append(error)
                done(count + 1)
    finally:
        ahead.close()
        matting.close()
    return problems


def matted(
    matting: Matting, task: Task, picture: Still, plate: Array | None, behind: FrameBackground
) -> dict[str, Array]:
    """Return the mattes of a task. Raises an InputError that names the picture if it cannot be matted."""
    try:
        return matting(picture.pixels, plate, behind, task.source)
    except (FrameError, InputError) as error:
        raise InputError(f"{task.source}: {error}") from error


def write(task: Task, picture: Still, mattes: Mapping[str, Array], quality: int) -> None:
    """Write the mattes of a task to their places."""
    for kind, place in task.places.items():
        about: dict[str, Any] = {"quality": quality}
        about |= {} if kind == "alpha" else {"profile": picture.profile, "exif": picture.exif}
        if isinstance(place, Path):
            still.write(mattes[kind], place, **about)
        else:
            place.write(still.encoded(mattes[kind], place.format, name=place, **about))


def require_replaceable(tasks: Sequence[Task], background: Any, engine: Any, *reads: str | Path) -> None:
    """Raise a SettingError if a task would write over a file that is read."""
    files = [path for task in tasks for path in task.reads]
    files += [*claims.files_of(background), *map(Path, reads)]
    files += [engine.path] if isinstance(engine, Engine) and engine.path else []
    claims.require_replaceable((place for task in tasks for place in task.files), files)


def _weight(read: _Read | InputError) -> int:
    return read.nbytes if isinstance(read, _Read) else 0


def _read(task: Task, limits: Limits | None) -> _Read | InputError:
    try:
        plate = None if task.plate is None else still.read(task.plate, limits).pixels
        return _Read(task, still.read(task.source, limits), plate)
    except InputError as error:
        return error
