"""Connections that end when a client is too slow: to send its request's lines, or to take its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = ["PatientHttp", "PatientWebSocket"]

_REQUEST: Final = 15.0  # seconds for the lines before the body
_ANSWER: Final = 30.0  # seconds for what fills the system's buffers


class _Timer:
    """Calls a function once, some seconds after `start`, unless it is stopped."""

    def __init__(self, seconds: float, late: Callable[[], None]) -> None:
        self._seconds, self._late = seconds, late
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._ring)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._late()


class _TakesItsAnswer(asyncio.Protocol):
    """Ends a connection whose client does not take what it is sent."""

    _taking: _Timer

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._taking = _Timer(_ANSWER, transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._taking.stop()
        super().connection_lost(exc)


class PatientHttp(_TakesItsAnswer, H11Protocol):
    """HTTP. The bodies of requests have a limit of their own (`patience`)."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._request = _Timer(_REQUEST, self._end)
        self._request.start()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_busy():
            self._request.stop()
        else:
            self._request.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request.stop()
        super().connection_lost(exc)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self) -> None:
        if self.transport.get_protocol() is self and not self._is_busy():
            self.transport.abort()


class PatientWebSocket(_TakesItsAnswer, WebSocketsSansIOProtocol):
    """WebSockets."""
