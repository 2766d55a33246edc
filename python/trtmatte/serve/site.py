"""The site: its paths, and what stands around them. `site(settings)` is an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from trtmatte.apps.picture_queue import Wanted
from trtmatte.errors import TrtmatteError
from trtmatte.media import still
from trtmatte.media.still import Encoded
from trtmatte.serve import openapi
from trtmatte.serve.counting import Counting
from trtmatte.serve.guard import Guard
from trtmatte.serve.live import Live
from trtmatte.serve.metrics import CONTENT_TYPE, Metrics
from trtmatte.serve.patience import Patience
from trtmatte.serve.pictures import Pictures
from trtmatte.serve.refusals import Refusal, answer_of, of_error
from trtmatte.serve.settings import Settings
from trtmatte.serve.shelf import Shelf
from trtmatte.version import __version__

__all__ = ["Site", "site"]

_LOG: Final = logging.getLogger("trtmatte")
_PAGE: Final = Path(__file__).parent / "page"
_PUBLIC: Final = ("/", "/page/", "/docs", "/api", "/openapi.json", "/healthz", "/readyz", "/favicon.ico")
_BATCH: Final = "/api/batch"
_LIVE: Final = "/api/live"


class Site:
    """The answers of a server, path by path."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.shelf = Shelf(settings)
        self.metrics = Metrics(self.shelf)
        self.pictures = Pictures(self.shelf, settings)
        self.live = Live(self.shelf, settings, self.metrics)
        self._not_ready = "the model is being loaded"
        self._described = openapi.description(self.shelf.names)

    def warm_up(self) -> None:
        """Load the default model. The server is ready then."""
        picture = still.encoded(np.zeros((720, 1280, 3), np.uint8), "png")
        try:
            model = self.shelf.lend(None)
            try:
                model.pictures.submit(Encoded(picture), Wanted()).result()
            finally:
                self.shelf.take_back(model)
            self._not_ready = ""
        except Exception as error:
            self._not_ready = f"{self.shelf.default} cannot be loaded: {error}"
            _LOG.warning("%s", self._not_ready)

    def end(self) -> None:
        """Take no more streams, and tell that no more requests should come. Pictures that were taken are answered."""
        self._not_ready = "the server is shutting down"
        self.live.close()

    def close(self) -> None:
        self.end()
        self.pictures.close()
        self.shelf.close()

    async def about(self, request: Request) -> Response:
        names = list(self.shelf.names)
        default = self.shelf.default
        device = next(filter(None, (model.device for model in self.shelf.loaded)), None)
        slots = self._settings.streams
        facts: dict[str, Any] = {"version": __version__, "model": default, "models": names}
        return JSONResponse({**facts, "live": names if slots else [], "slots": slots, "device": device})

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if self._not_ready:
            raise Refusal(503, self._not_ready)
        return JSONResponse({"status": "ready"})

    async def counters(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def described(self, request: Request) -> Response:
        return JSONResponse(self._described)

    async def documents(self, request: Request) -> Response:
        return HTMLResponse(openapi.page(self._described))

    async def page(self, request: Request) -> Response:
        return FileResponse(_PAGE / "index.html")

    async def icon(self, request: Request) -> Response:
        return Response(status_code=204)

    async def of_rembg(self, request: Request) -> Response:
        """The address at which rembg's server has its description."""
        return RedirectResponse("docs")


def site(settings: Settings) -> Starlette:
    """The application. Its state has the `Site`."""
    found = Site(settings)
    routes = [
        Route("/", found.page),
        Route("/api/remove", found.pictures.remove, methods=["POST"]),
        Route("/api/remove", found.pictures.remove_of_address, methods=["GET"]),
        Route(_BATCH, found.pictures.batch, methods=["POST"]),
        Route("/api/about", found.about),
        WebSocketRoute(_LIVE, found.live.serve),
        Route("/docs", found.documents),
        Route("/api", found.of_rembg),
        Route("/openapi.json", found.described),
        Route("/healthz", found.health),
        Route("/readyz", found.ready),
        Route("/metrics", found.counters),
        Route("/favicon.ico", found.icon),
        Mount("/page", StaticFiles(directory=_PAGE)),
    ]
    paths = [each.path for each in routes if isinstance(each, Route)]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(found.close)

    made = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(Counting, metrics=found.metrics, paths=paths),
            Middleware(Patience, seconds=settings.seconds, in_parts=(_BATCH,)),
            Middleware(Guard, settings=settings, public=_PUBLIC, in_messages=(_LIVE,)),
        ],
        exception_handlers={HTTPException: _refused, **dict.fromkeys((Refusal, TrtmatteError, MemoryError), _failed)},
    )
    made.state.site = found
    return made


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")
    message = (
        f"{request.method} is not allowed here; expected {allowed}"
        if allowed
        else "there is no such path; /docs lists them"
    )
    return answer_of(Refusal(error.status_code, message, error.headers))


async def _failed(request: Request, error: Exception) -> Response:
    return answer_of(of_error(error))
