"""The models of a server: each is loaded when it is asked for, and the least used leave when memory runs out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from trtmatte.api import Engine, build, load
from trtmatte.apps.matting import Matting, shape_of
from trtmatte.apps.picture_queue import Mattes, PictureQueue, Wanted
from trtmatte.apps.stream_pool import Stream, StreamPool
from trtmatte.compiler.families import catalog
from trtmatte.errors import FullError, SettingError
from trtmatte.models.model import Model
from trtmatte.reports.fit import follows_the_frame
from trtmatte.serve.settings import Settings
from trtmatte.support import memory_use

__all__ = ["ServedModel", "Shelf"]

_LOG: Final = logging.getLogger("trtmatte")
_SHARE: Final = 0.75  # of the machine's memory
_POOLS: Final = 4  # of one model
_EVERY: Final = 1.0  # seconds between two looks at the memory
_NO_ROOM: Final = "{} of memory are in use, {} are allowed, and all models are at work; try again later"

Size = tuple[int, int]


class ServedModel:
    """A model at work: its pictures and its live streams."""

    def __init__(self, name: str, source: str | Path | Engine, settings: Settings) -> None:
        self.name, self.used, self.leases = name, time.monotonic(), 0
        self._settings = settings
        self._source: str | Path | None = None if isinstance(source, Engine) else source
        self._given = source if isinstance(source, Engine) else None
        self._turn = threading.Lock()  # held for moments
        self._building, self._opening = threading.Lock(), threading.Lock()
        self._engines: WeakValueDictionary[tuple[int, int], Engine] = WeakValueDictionary()  # sessions keep them
        self._follows_the_frame = True
        self._mattings: dict[Hashable, Matting] = {}
        self._pools: dict[tuple[Engine, bool], StreamPool] = {}
        self.pictures = PictureQueue(
            self._mattings_for, batch=self._batch, room=settings.waiting, limits=settings.limits
        )

    @property
    def is_idle(self) -> bool:
        return not (self.leases or len(self.pictures) or self.streams)

    @property
    def streams(self) -> int:
        return sum(pool.streams for pool in list(self._pools.values()))

    @property
    def device(self) -> str | None:
        """The device that it runs on, once that is known."""
        return next(filter(None, (each.device for each in self._at_work)), None)

    def join(self, size: Size, foreground: bool) -> Stream:
        """A live stream of frames of about this size. Loads what it needs, which takes a while."""
        engine = self._engine_for(size, self._batch)
        with self._opening:  # another stream of this shape waits for the pool
            key = engine, foreground
            if key not in self._pools:
                self._close_empty_pools()
                outputs = ("fgr", "pha") if foreground else ("pha",)
                self._pools[key] = StreamPool(
                    engine, slots=self._settings.streams, outputs=outputs, **self._settings.options
                )
            return self._pools[key].join()

    def _close_empty_pools(self) -> None:
        """Keep few pools for shapes that nobody streams any more."""
        empty = [key for key, pool in self._pools.items() if not pool.streams]
        for key in empty[: max(0, len(self._pools) - _POOLS)]:
            self._pools.pop(key).close()

    def close(self) -> None:
        self.pictures.drop()
        with self._turn, self._opening:
            opened, self._mattings, self._pools = self._at_work, {}, {}
        for each in opened:
            each.close()

    @property
    def _at_work(self) -> list[Matting | StreamPool]:
        return [*self._mattings.values(), *self._pools.values()]

    @property
    def _batch(self) -> int:
        return self._settings.batch if self._given is None else self._given.program.batch

    def _engine_for(self, size: Size, batch: int) -> Engine:
        """The engine for pictures of this shape. All sessions on it share its networks."""
        if self._source is None:
            assert self._given is not None
            return self._given
        with self._building:
            key = shape_of(size) if self._follows_the_frame else 0, batch
            engine = self._engines.get(key)
            if engine is None:
                engine = build(self._source, size=size, batch=batch, **self._settings.build)
                self._follows_the_frame = follows_the_frame(engine.program.family)
                self._engines[key if self._follows_the_frame else (0, batch)] = engine
            return engine

    def _mattings_for(self, wanted: Wanted) -> tuple[Mattes | None, Mattes | None]:
        batch = self._batch
        if batch == 1:
            return self._matting(wanted, 1), None
        return None if self._given else self._matting(wanted, 1), self._matting(wanted, batch)

    def _matting(self, wanted: Wanted, batch: int) -> Matting:
        key = wanted.session, batch
        with self._turn:
            if key not in self._mattings:
                options: dict[str, Any] = {**self._settings.options, **({"batch": batch} if batch > 1 else {})}
                self._mattings[key] = Matting(
                    self._given or partial(self._engine_for, batch=batch),
                    (wanted.kind,),
                    post_process=wanted.post_process,
                    tell=_LOG.warning,
                    **options,
                )
            return self._mattings[key]


class Shelf:
    """The models by their names. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = settings.max_memory or int(_SHARE * memory_use.of_the_machine())
        self._sources: Mapping[str, str | Path | Engine] = (
            {each.name: each.name for each in catalog.by_category() if _can_serve(each)}
            if settings.models is None
            else {name: _opened(source) for name, source in settings.models.items()}
        )
        self._turn = threading.Lock()
        self._served: dict[str, ServedModel] = {}
        self._looked = 0.0
        self._find(settings.model)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that may be asked for."""
        return tuple(self._sources)

    @property
    def default(self) -> str:
        return self._find(self._settings.model)[0]

    @property
    def loaded(self) -> list[ServedModel]:
        """The models that are loaded."""
        with self._turn:
            return list(self._served.values())

    def lend(self, name: str | None) -> ServedModel:
        """A model, which stays until it is taken back. Raises a SettingError if there is none with this name."""
        name, source = self._find(name or self._settings.model)
        self._make_room(is_new=name not in self._served)
        with self._turn:
            if name not in self._served:
                self._served[name] = ServedModel(name, source, self._settings)
            served = self._served[name]
            served.leases += 1
            return served

    def take_back(self, served: ServedModel) -> None:
        with self._turn:
            served.leases -= 1
            served.used = time.monotonic()

    def close(self) -> None:
        with self._turn:
            served, self._served = list(self._served.values()), {}
        for each in served:
            each.close()

    def _find(self, name: str) -> tuple[str, str | Path | Engine]:
        if name in self._sources:
            return name, self._sources[name]
        if self._settings.models is None:
            name = catalog.find(name).name
            if name in self._sources:
                return name, name
        raise SettingError(f"model is {name!r}; expected {', '.join(self._sources)}")

    def _make_room(self, *, is_new: bool) -> None:
        """Let idle models leave, the least used first, if there is too little memory."""
        now = time.monotonic()
        with self._turn:
            if not is_new and now - self._looked < _EVERY:
                return
            self._looked = now
        while (used := memory_use.resident()) > self._most:
            with self._turn:
                idle = sorted((each for each in self._served.values() if each.is_idle), key=lambda each: each.used)
                if not idle:
                    break
                leaving = self._served.pop(idle[0].name)
            _LOG.info("%s leaves: %d MiB are in use, %d allowed", leaving.name, used >> 20, self._most >> 20)
            leaving.close()
            del idle, leaving
            memory_use.give_back()
        if is_new and used > self._most:
            raise FullError(_NO_ROOM.format(f"{used >> 20} MiB", f"{self._most >> 20} MiB"))


def _opened(source: str | Path | Engine) -> str | Path | Engine:
    if isinstance(source, Engine) or Path(source).suffix.lower() != ".trtm":
        return source
    return load(source)


def _can_serve(model: Model) -> bool:
    """Report if a known model can be had without anybody's help."""
    return bool(model.sources or model.is_here)
