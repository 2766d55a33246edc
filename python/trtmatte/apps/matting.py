"""The mattes of single pictures of any sizes, each by itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte.api import Engine, Session
from trtmatte.apps.maps import picture_of, session_outputs
from trtmatte.errors import SettingError
from trtmatte.format.stages import PLATE
from trtmatte.media.alignment import Aligner
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.padding import PATCH, multiple_of, pad_to
from trtmatte.media.plates import fitted
from trtmatte.media.targets import KINDS
from trtmatte.reports.fit import fit_warning
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["EngineForSize", "Matting"]

Array = np.ndarray[Any, Any]

EngineForSize = Callable[[tuple[int, int]], Engine]

_SHAPES: Final = 4  # of pictures, for each doubling of width:height: within one they are stretched by a tenth at most
_KEPT: Final = 8  # sessions: upright, lying and square pictures of the usual shapes


class _Opened(NamedTuple):
    session: Session
    names: Mapping[str, str]
    """The session's names of the outputs."""


class Matting:
    """Mattes pictures, and keeps a session for each shape of picture. Calls from several threads wait for each other.

    A network sees all pictures in one size, so a tall picture would be squeezed in the engine of a wide one: a function
    in place of an engine returns the engine for a size. It is called once for each aspect ratio. The sessions of the
    last eight are kept.
    """

    def __init__(
        self,
        engine: Engine | EngineForSize,
        kinds: Sequence[str],
        *,
        align: bool = False,
        tell: Callable[[str], object] = lambda message: None,
        limits: Limits | None = None,
        **session: Any,
    ) -> None:
        """`kinds` are names of `KINDS` and `MAPS`; `tell` gets messages about plates and engines that do not fit.

        `session` are options of a session.
        """
        self._engine, self._kinds = engine, tuple(kinds)
        self._align, self._tell = align, tell
        self._wanted = [KINDS.get(kind, kind) for kind in kinds]
        self._options = session
        self._options |= {"safe": limits} if limits else {}
        self._sessions: dict[int, _Opened] = {}
        self._told: set[str] = set()
        self._shapes: set[int] = set()  # those that came so far
        self._turn = threading.Lock()

    def __call__(
        self, picture: Array, plate: Array | None, behind: FrameBackground, name: object = "the picture"
    ) -> dict[str, Array]:
        """Return the mattes of a picture, uint8 RGB, by the names of `KINDS`. They are the caller's own."""
        with self._turn:
            size = _size(picture)
            opened = self._session(size)
            plate = self._plate(opened.session, picture, plate, name)
            (mattes,) = self._mattes(opened, picture, plate, behind, size)
        return mattes

    def together(self, pictures: Sequence[Array], behind: FrameBackground) -> list[dict[str, Array]]:
        """Return the mattes of pictures of one size, for a model that needs no plate.

        They are as many as the sessions have streams, or fewer: the last one is then matted several times.
        """
        with self._turn:
            size = _size(pictures[0])
            opened = self._session(size)
            self._plate(opened.session, pictures[0], None, "the picture")
            streams = self._options.get("batch", 1)
            filled = [*pictures, *[pictures[-1]] * (streams - len(pictures))]
            frames = np.stack(filled) if streams > 1 else filled[0]
            return self._mattes(opened, frames, None, behind, size)[: len(pictures)]

    def _mattes(
        self, opened: _Opened, frames: Array, plate: Array | None, behind: FrameBackground, size: tuple[int, int]
    ) -> list[dict[str, Array]]:
        """Return the mattes of one picture (H, W, 3), or of each of several."""
        session, names = opened
        if session.engine.program.capacity:
            whole = multiple_of(PATCH, size)
            frames, plate = pad_to(frames, whole), None if plate is None else pad_to(plate, whole)
        session.reset()
        matte = session(frames, plate, background=behind.at(size) if "composite" in self._kinds else None)
        outputs = {kind: matte[names[output]] for kind, output in zip(self._kinds, self._wanted, strict=True)}
        each = [outputs] if frames.ndim == 3 else [{k: v[i] for k, v in outputs.items()} for i in range(len(frames))]
        padded = frames.shape[-2], frames.shape[-3]
        return [_own(mattes, padded, size) for mattes in each]

    def close(self) -> None:
        with self._turn:
            for opened in self._sessions.values():
                opened.session.close()
            self._sessions.clear()

    def _session(self, size: tuple[int, int]) -> _Opened:
        shape = round(_SHAPES * math.log2(size[0] / size[1]))
        if isinstance(self._engine, Engine):
            self._tell_of_fit(self._engine, shape, size)
            shape = 0
        opened = self._sessions.pop(shape, None) or self._opened(self._built(size))
        self._sessions[shape] = opened
        if len(self._sessions) > _KEPT:
            self._sessions.pop(next(iter(self._sessions))).session.close()  # the one that was not used for longest
        return opened

    def _opened(self, engine: Engine) -> _Opened:
        names = session_outputs(self._wanted, engine.program)
        return _Opened(engine.session(outputs=tuple(names.values()), **self._options), names)

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

    def _plate(self, session: Session, picture: Array, plate: Array | None, name: object) -> Array | None:
        """Return the plate in the size of the picture, if the model needs one."""
        family = session.engine.program.family
        if PLATE not in session.engine.program.pictures:
            if plate is not None:
                raise SettingError(f"{family} needs no plate; leave {option('plate')} out")
            return None
        if plate is None:
            raise SettingError(f"{family} needs the plate, the photographed empty scene: give {option('plate')}")
        if self._align:
            plate = Aligner(tell=lambda message: self._tell(f"{name}: {message}"))(plate, picture)
        return fitted(plate, _size(picture), "picture", self._tell_once)

    def _tell_of_fit(self, engine: Engine, shape: int, size: tuple[int, int]) -> None:
        """Tell once for each shape of pictures if the engine squeezes them."""
        if shape not in self._shapes:
            self._shapes.add(shape)
            if (warning := fit_warning(engine, size)) is not None:
                self._tell(warning)

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._tell(message)


def _own(mattes: Mapping[str, Array], padded: tuple[int, int], size: tuple[int, int]) -> dict[str, Array]:
    """Return copies without what was padded."""
    copies = {kind: picture_of(matte, kind, padded, size).copy() for kind, matte in mattes.items()}
    if "rgba" in copies:  # what is cut out is not to be found in the file
        copies["rgba"] *= copies["rgba"][..., 3:] > 0
    return copies


def _size(picture: Array) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
