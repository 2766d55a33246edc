"""Counts requests, and answers those in which the server fails (an ASGI middleware)."""

from __future__ import annotations

from collections.abc import Collection
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trtmatte.serve.metrics import Metrics
from trtmatte.serve.refusals import answer_of, of_error

__all__ = ["Counting"]

_OTHER: Final = "other"  # paths that there are not: their names are strangers'
_GONE: Final = 499  # the client did not wait for its answer


class Counting:
    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, set(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), _GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            refusal = of_error(error)
            if status != _GONE:  # the answer has begun: only its end can tell
                raise
            await answer_of(refusal)(scope, receive, noted)
        finally:
            path = scope["path"] if scope["path"] in self._paths else _OTHER
            self._metrics.count(path, status, perf_counter() - began)
