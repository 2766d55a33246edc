"""The mattes of single pictures of any sizes, each by itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte import ops
from trtmatte.api import Engine, Session
from trtmatte.apps.maps import picture_of, session_outputs
from trtmatte.apps.post_process import mask_of
from trtmatte.errors import SettingError
from trtmatte.format.stages import PLATE
from trtmatte.media.alignment import Aligner
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.padding import PATCH, multiple_of, pad_to
from trtmatte.media.plates import fitted
from trtmatte.media.targets import KINDS
from trtmatte.reports.fit import fit_warning, follows_the_frame
from trtmatte.runtime.session import Matte
from trtmatte.runtime.session.background import read_background
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["EngineForSize", "Matting", "shape_of"]

Array = np.ndarray[Any, Any]

EngineForSize = Callable[[tuple[int, int]], Engine]

_SHAPES: Final = 4  # of pictures, for each doubling of width:height: within one they are stretched by a tenth at most
_FULL: Final = 512  # pixels of the long side, from which on networks see pictures of one shape in one size
_SMALLEST: Final = -4  # the classes of smaller pictures, each half as large as the one before
_OPENING: Final = 2  # engines that are built ahead at a time
_MADE: Final = ("rgba", "composite", "pha")  # outputs that are made of the alpha
_KEPT: Final = 8  # sessions: upright, lying and square pictures of the usual shapes


class _Opened(NamedTuple):
    session: Session
    names: Mapping[str, str]
    """The session's names of the outputs."""


class _Opening(threading.Thread):
    """Builds and opens on a thread of its own, which the end of the process does not wait for."""

    def __init__(self, work: Callable[[], _Opened]) -> None:
        super().__init__(name="trtmatte-opening", daemon=True)
        self._work = work
        self._opened: _Opened | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._opened = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> _Opened:
        """Wait for what is opened. Raises the error of the work."""
        self.join()
        if self._opened is None:
            assert self._error is not None
            raise self._error
        return self._opened


class Matting:
    """Mattes pictures, and keeps a session for each shape of picture. Calls from several threads wait for each other.

    A network sees all pictures in one size, so a tall picture would be squeezed in the engine of a wide one: a function
    in place of an engine returns the engine for a size. It is called once for each aspect ratio, or once if the network
    sees all of them in the same size. The sessions of the last eight are kept.
    """

    def __init__(
        self,
        engine: Engine | EngineForSize,
        kinds: Sequence[str],
        *,
        align: bool = False,
        post_process: bool = False,
        tell: Callable[[str], object] = lambda message: None,
        limits: Limits | None = None,
        **session: Any,
    ) -> None:
        """`kinds` are names of `KINDS` and `MAPS`; `tell` gets messages about plates and engines that do not fit.

        With `post_process`, the alpha of all kinds is a mask without grey. `session` are options of a session.
        """
        self._engine, self._kinds = engine, tuple(kinds)
        self._align, self._tell = align, tell
        self._post_process = post_process
        self._wanted = [KINDS.get(kind, kind) for kind in kinds]
        if post_process:  # what has an alpha is made again
            made = ["fgr", "pha"] if {"rgba", "composite"} & set(kinds) else ["pha"]
            self._wanted = list(dict.fromkeys([*(each for each in self._wanted if each not in _MADE), *made]))
        self._options = session
        self._options |= {"safe": limits} if limits else {}
        self._sessions: dict[int, _Opened] = {}
        self._coming: dict[int, _Opening] = {}
        self._one_engine = isinstance(engine, Engine)
        self._told: set[str] = set()
        self._shapes: set[int] = set()  # those that came so far
        self._turn = threading.Lock()

    def __call__(
        self, picture: Array, plate: Array | None, behind: FrameBackground, name: object = "the picture"
    ) -> dict[str, Array]:
        """Return the mattes of a picture, uint8 RGB, by the names of `KINDS`. They are the caller's own."""
        with self._turn:
            opened = self._session(_size(picture))
            plate = self._plate(opened.session, picture, plate, name)
            return self._matte(opened, picture, plate, behind)

    def prepare(self, size: tuple[int, int]) -> None:
        """Begin to build and open what mattes pictures of this size, if it is not there and others are at work."""
        with self._turn:
            shape = self.shape(size)
            if not self._sessions or shape in self._sessions or shape in self._coming:
                return  # before the first session, it is not known if one is enough
            if not self._one_engine and sum(each.is_alive() for each in self._coming.values()) < _OPENING:
                self._coming[shape] = _Opening(lambda: self._opened(self._built(size)))

    @property
    def device(self) -> str | None:
        """The device of its sessions; None before the first one is open."""
        return next((each.session.device for each in list(self._sessions.values())), None)

    def shape(self, size: tuple[int, int]) -> int:
        """Return a number that is the same for pictures that share a session."""
        return 0 if self._one_engine else shape_of(size)

    def together(self, pictures: Sequence[Array], behind: FrameBackground) -> list[dict[str, Array]]:
        """Return the mattes of pictures of one `shape`, at most as many as the sessions have streams.

        The model needs no plate.
        """
        with self._turn:
            opened = self._session(_size(pictures[0]))
            self._plate(opened.session, pictures[0], None, "the picture")
            if self._options.get("batch", 1) == 1:
                return [self._matte(opened, picture, None, behind) for picture in pictures]
            backgrounds = [behind.at(_size(picture)) for picture in pictures] if "composite" in self._kinds else None
            mattes = opened.session.each(pictures, backgrounds=backgrounds)
            sizes = map(_size, pictures)
            return [self._own(opened, matte, size, size) for matte, size in zip(mattes, sizes, strict=True)]

    def _matte(self, opened: _Opened, picture: Array, plate: Array | None, behind: FrameBackground) -> dict[str, Array]:
        session, size = opened.session, _size(picture)
        if session.engine.program.capacity:
            whole = multiple_of(PATCH, size)
            picture, plate = pad_to(picture, whole), None if plate is None else pad_to(plate, whole)
        session.reset()
        background = behind.at(size) if "composite" in self._kinds else None
        matte = session(picture, plate, background=None if self._post_process else background)
        if self._post_process:
            return self._masked(opened, matte, picture, size, background)
        return self._own(opened, matte, _size(picture), size)

    def _masked(
        self, opened: _Opened, matte: Matte, picture: Array, size: tuple[int, int], background: Any
    ) -> dict[str, Array]:
        """Return the mattes with a mask in the place of the alpha."""
        made = {name: picture_of(matte[opened.names[name]], name, _size(picture), size).copy() for name in self._wanted}
        mask = mask_of(made["pha"])
        mattes = {kind: made[KINDS.get(kind, kind)] for kind in self._kinds if KINDS.get(kind, kind) not in _MADE}
        if "alpha" in self._kinds:
            mattes["alpha"] = mask
        if "rgba" in self._kinds:
            mattes["rgba"] = np.concatenate([made["fgr"] * (mask > 0), mask], axis=2)
        if "composite" in self._kinds:
            behind = read_background(background, "rgb").at(picture[: size[1], : size[0]], 0, slice(0, 1))
            alpha = np.ascontiguousarray(mask.transpose(2, 0, 1))[np.newaxis] / np.float32(255)
            (mattes["composite"],) = ops.matte_upsample(made["fgr"], alpha, outputs=("composite",), background=behind)
        return {kind: mattes[kind] for kind in self._kinds}

    def _own(self, opened: _Opened, matte: Matte, padded: tuple[int, int], size: tuple[int, int]) -> dict[str, Array]:
        """Return copies by the names of `KINDS` and `MAPS`, without what was padded."""
        wanted = zip(self._kinds, self._wanted, strict=True)
        copies = {kind: picture_of(matte[opened.names[name]], kind, padded, size).copy() for kind, name in wanted}
        if "rgba" in copies:  # what is cut out is not to be found in the file
            pixels = copies["rgba"].view(np.uint32)[..., 0]  # four channels at a time, which is ten times as quick
            pixels *= copies["rgba"][..., 3] > 0
        return copies

    def close(self) -> None:
        with self._turn:
            for opened in self._sessions.values():
                opened.session.close()
            self._sessions.clear()
            self._coming.clear()  # their sessions go with the threads

    def _session(self, size: tuple[int, int]) -> _Opened:
        if isinstance(self._engine, Engine):
            self._tell_of_fit(self._engine, size)
        shape = self.shape(size)
        coming = self._coming.pop(shape, None)
        opened = self._sessions.pop(shape, None)
        if opened is None:
            opened = self._opened(self._built(size)) if coming is None else coming.result()
        self._one_engine |= not follows_the_frame(opened.session.engine.program.family)
        self._sessions[self.shape(size)] = opened
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

    def _tell_of_fit(self, engine: Engine, size: tuple[int, int]) -> None:
        """Tell once for each shape of pictures if the engine squeezes them."""
        if _aspect(size) not in self._shapes:
            self._shapes.add(_aspect(size))
            if (warning := fit_warning(engine, size)) is not None:
                self._tell(warning)

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._tell(message)


def shape_of(size: tuple[int, int]) -> int:
    """Return a number for the aspect ratio and, of small pictures, for the size: a network that is built for a small
    one would see too little of a large one."""
    small = max(_SMALLEST, min(0, math.floor(math.log2(max(size) / _FULL))))
    return _aspect(size) * (1 - _SMALLEST) - small


def _aspect(size: tuple[int, int]) -> int:
    return round(_SHAPES * math.log2(size[0] / size[1]))


def _size(picture: Array) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]
