"""`/api/remove` and `/api/batch`: pictures in, cut-outs out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from trtmatte.apps.picture_queue import Wanted
from trtmatte.errors import FullError
from trtmatte.media.request_lines import LineSplitter, RequestError, answer, read_request, refusal
from trtmatte.media.still import Encoded
from trtmatte.serve.fetching import fetch
from trtmatte.serve.forms import Asked, Body, Budget, read_fields, read_form
from trtmatte.serve.refusals import Refusal, of_error
from trtmatte.serve.settings import Settings
from trtmatte.serve.shelf import ServedModel, Shelf

__all__ = ["Pictures"]

_UPLOADS: Final = 8  # bodies of the largest size that may be held at a time
_FETCHES: Final = 4  # pictures that are fetched at a time
_BATCHES: Final = 8  # at the same time
_ABREAST: Final = 8  # pictures of one batch that are under way
_PAUSE: Final = 0.02  # seconds, until a full queue is asked again for a batch
_LONGEST_WAIT: Final = 60  # seconds that a client is told to wait, at most
_JSON_LINES: Final = "application/x-ndjson"
_GONE: Final = 499


class Pictures:
    """Answers requests for pictures."""

    def __init__(self, shelf: Shelf, settings: Settings) -> None:
        self._shelf, self._settings = shelf, settings
        self._budget = Budget(_UPLOADS * settings.body_bytes)
        self._batches = 0
        self._fetching = ThreadPoolExecutor(_FETCHES, "trtmatte-fetching")

    def close(self) -> None:
        self._fetching.shutdown(wait=False)

    async def remove(self, request: Request) -> Response:
        """The picture of a form without its background."""
        body = Body(request, self._settings.body_bytes, self._budget)
        try:
            data, fields = await read_form(request, body)
            return await self._answered(request, data, read_fields(fields))
        finally:
            body.let_go()

    async def remove_of_address(self, request: Request) -> Response:
        """The picture at an address, `?url=…`, without its background."""
        address, settings = request.query_params.get("url"), self._settings
        if not address:
            raise Refusal(400, "url is missing; expected the address of a picture, or a form sent with POST")
        if not settings.urls:
            raise Refusal(
                403, "no pictures are fetched here; start the server with --allow-url HOST, or send the picture"
            )
        asked = read_fields(request.query_params)
        fetched = partial(fetch, address, settings.urls, settings.body_bytes, settings.seconds)
        data = await asyncio.get_running_loop().run_in_executor(self._fetching, fetched)
        return await self._answered(request, data, asked)

    async def batch(self, request: Request) -> Response:
        """Lines of JSON with pictures in base64; the answers are lines in the order in which they are done."""
        asked = read_fields(request.query_params)
        if self._batches >= _BATCHES:
            raise Refusal(429, f"{_BATCHES} batches are under way, and no more may be", {"Retry-After": "10"})
        model = self._shelf.lend(asked.model)
        self._batches += 1
        return _LinesWhileReading(self._answers(request, model, asked.wanted), partial(self._end_batch, model))

    def _end_batch(self, model: ServedModel) -> None:
        self._batches -= 1
        self._shelf.take_back(model)

    async def _answered(self, request: Request, data: bytes, asked: Asked) -> Response:
        model = self._shelf.lend(asked.model)
        try:
            try:
                picture = model.pictures.submit(Encoded(data), asked.wanted)
                return Response(await _unless_gone(request, picture), media_type=asked.media_type)
            except Exception as error:
                raise of_error(error, _retry_after(model)) from error
        finally:
            self._shelf.take_back(model)

    async def _answers(self, request: Request, model: ServedModel, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The answers of a batch, as they are done. A few pictures are under way at a time."""
        lines = self._lines(request)
        reading: asyncio.Future[tuple[int, bytes]] | None = asyncio.ensure_future(anext(lines))
        matting: set[asyncio.Future[bytes]] = set()
        try:
            while reading or matting:
                awaited: set[asyncio.Future[Any]] = {*matting}
                if reading and len(matting) < _ABREAST:
                    awaited.add(reading)
                done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                for made in matting & done:
                    matting.discard(made)
                    yield made.result()
                if reading and reading in done:
                    try:
                        number, line = reading.result()
                    except StopAsyncIteration:
                        reading = None
                    else:
                        matting.add(asyncio.ensure_future(self._line_answered(model, wanted, number, line)))
                        reading = asyncio.ensure_future(anext(lines))
        finally:
            if reading:
                reading.cancel()
            for each in matting:
                each.cancel()

    async def _lines(self, request: Request) -> AsyncIterator[tuple[int, bytes]]:
        splitter = LineSplitter(self._settings.limits)
        with suppress(ClientDisconnect):  # nobody waits for the answers
            async for part in request.stream():
                for each in splitter.split(part):
                    yield each
            for each in splitter.rest():
                yield each

    async def _line_answered(self, model: ServedModel, wanted: Wanted, number: int, line: bytes) -> bytes:
        try:
            request = read_request(number, line, self._settings.limits)
        except RequestError as error:
            return refusal(error.key, error)
        try:
            with self._budget.held(len(line)):
                return answer(request.key, await _patiently(model, request.picture, wanted))
        except Exception as error:
            return refusal(request.key, of_error(error).message)


class _LinesWhileReading(Response):
    """An answer in lines that begins while the request is still read. Starlette's own would read it as well."""

    media_type = _JSON_LINES

    def __init__(self, lines: AsyncGenerator[bytes, None], end: Callable[[], None]) -> None:
        """`end` is called when the answer is complete, or nobody takes it."""
        super().__init__()
        self._lines, self._end = lines, end
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with aclosing(self._lines):
                async for line in self._lines:
                    await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._end()


async def _patiently(model: ServedModel, picture: Encoded, wanted: Wanted) -> bytes:
    """The matte of a picture, which waits for a place in the queue."""
    while True:
        with suppress(FullError):
            return await asyncio.wrap_future(model.pictures.submit(picture, wanted))
        await asyncio.sleep(_PAUSE)


async def _unless_gone(request: Request, picture: Future[bytes]) -> bytes:
    """The matte of a picture. If the client goes away, the picture is taken out of the queue."""
    made, gone = asyncio.wrap_future(picture), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((made, gone), return_when=asyncio.FIRST_COMPLETED)
        if not made.done():
            raise Refusal(_GONE, "the client has gone")
        return made.result()
    finally:
        gone.cancel()
        made.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retry_after(model: ServedModel) -> int:
    """The seconds after which half of the queue is done."""
    return min(_LONGEST_WAIT, max(1, math.ceil(len(model.pictures) * model.pictures.seconds / 2)))
