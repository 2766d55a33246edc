"""Watch a folder, and matte each picture that appears in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trtmatte.api import Engine
from trtmatte.apps.matting import EngineForSize, Matting
from trtmatte.apps.pictures import Task, matted, require_replaceable, write
from trtmatte.errors import InputError
from trtmatte.media import still
from trtmatte.media.arrivals import Arrivals
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.support import signals
from trtmatte.support.limits import Limits

__all__ = ["Seen", "watch"]

_INTERVAL: Final = 0.25  # seconds between two looks at the folder


@dataclass
class Seen:
    """The numbers of pictures that were matted, and of those that could not be."""

    matted: int = 0
    failed: int = 0


def watch(
    folder: Path,
    task_of: Callable[[Path], Task | None],
    engine: Engine | EngineForSize,
    *,
    kinds: Sequence[str],
    background: Any = None,
    align: bool = False,
    post_process: bool = False,
    quality: int = 95,
    tell: Callable[[str], object] = lambda message: None,
    reads: Sequence[str | Path] = (),
    safe: bool | Limits = False,
    stop: threading.Event | None = None,
    **session: Any,
) -> Seen:
    """Matte the pictures of a folder, and those that come, until `stop` is set or a signal asks to end.

    `task_of` returns the task of a picture, or None for one that needs no matte. The errors of pictures are told; an
    error of writing is raised. The further arguments are those of `pictures.convert`.
    """
    limits = Limits.of(safe)
    behind = FrameBackground(background if "composite" in kinds else None, limits=limits)
    matting = Matting(engine, kinds, align=align, post_process=post_process, tell=tell, limits=limits, **session)
    arrivals, stop, seen = Arrivals(folder, limits), stop or threading.Event(), Seen()
    try:
        with still.without_warnings():
            while not stop.wait(_INTERVAL):
                for path in arrivals.look():
                    try:
                        if (task := task_of(path)) is not None:
                            if (picture := arrivals.read(path)) is None:
                                continue
                            require_replaceable([task], background, engine, *reads)
                            plate = None if task.plate is None else still.read(task.plate, limits).pixels
                            write(task, picture, matted(matting, task, picture, plate, behind), quality)
                            seen.matted += 1
                    except InputError as error:
                        seen.failed += 1
                        tell(str(error))
                    arrivals.finish(path)
    except BaseException:
        if not signals.was_raised():
            raise
    finally:
        matting.close()
    return seen
