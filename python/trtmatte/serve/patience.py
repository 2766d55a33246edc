"""A limit of time for the bodies of requests, around the whole site (an ASGI middleware)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trtmatte.serve.refusals import Refusal

__all__ = ["Patience"]

_LINGER: Final = 3.0  # seconds in which a client that is refused may go on sending
_MOST_LEFT: Final = 1 << 28  # bytes
_LATE: Final = "the request did not arrive in {:g} seconds; send it again"


class Patience:
    """Ends requests that arrive too slowly: as a whole, or for some paths, each of its parts."""

    def __init__(self, app: ASGIApp, seconds: float, in_parts: Collection[str]) -> None:
        self._app, self._seconds, self._in_parts = app, seconds, in_parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        now = asyncio.get_running_loop().time
        end, arrived = now() + self._seconds, False

        async def receive_in_time() -> Message:
            nonlocal end, arrived
            if arrived:  # what comes now is the end of the connection
                return await receive()
            if scope["path"] in self._in_parts:
                end = now() + self._seconds
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - now()))
            except asyncio.TimeoutError:
                raise Refusal(408, _LATE.format(self._seconds), {"Connection": "close"}) from None
            arrived = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def send_before_the_end(message: Message) -> None:
            """Let a client that is still sending read its answer: a connection that ends early takes it along."""
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_last and not arrived:
                await send({**message, "more_body": True})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(_rest_of(receive), _LINGER)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_in_time, send_before_the_end)


async def _rest_of(receive: Receive) -> None:
    left = _MOST_LEFT
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
