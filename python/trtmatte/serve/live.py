"""`/api/live`: a live stream of frames over a WebSocket, answered with the alpha of each one (`docs/serve.md`)."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from trtmatte.apps.stream_pool import Stream
from trtmatte.errors import FullError, InputError, SettingError, TrtmatteError
from trtmatte.media import colour, still
from trtmatte.media.frame_packets import CODECS, PacketDecoder
from trtmatte.runtime.session import Matte
from trtmatte.serve.guard import is_token
from trtmatte.serve.metrics import Metrics
from trtmatte.serve.settings import Settings
from trtmatte.serve.shelf import ServedModel, Shelf

__all__ = ["Live"]

Array = np.ndarray[Any, Any]

_LOG: Final = logging.getLogger("trtmatte")
_FRAME: Final = struct.Struct("<IBBBxHH4x")
_ANSWER: Final = struct.Struct("<IBB2xHHIIf")
_MATTED, _DROPPED = 0, 1
_RAW, _PNG = 0, 1
_MATRICES: Final = (colour.SD, colour.BT709)
_THREADS: Final = 4  # that decode frames and encode alphas
_QUALITY: Final = 90  # of foregrounds, which are JPEG files
_HELLO: Final = 10.0  # seconds for the first message
_MOST_HELLOS: Final = 32  # clients at the same time that have not said what they want: they may be anybody
_SILENCE: Final = 60.0  # seconds without a frame, after which a stream loses its slot
_MOST_WAITING: Final = 8  # frames that are not answered; a client that sends more has to wait
_WORST: Final = 60  # frames in turn that cannot be read

_POLICY, _FAILED, _RESTART, _LATER = 1008, 1011, 1012, 1013


class Live:
    """Streams of frames."""

    def __init__(self, shelf: Shelf, settings: Settings, metrics: Metrics) -> None:
        self._shelf, self._settings, self._metrics = shelf, settings, metrics
        self._threads = ThreadPoolExecutor(_THREADS, "trtmatte-live")
        self._open: set[asyncio.Task[Any]] = set()
        self._hellos = 0
        self._ends = False

    @property
    def count(self) -> int:
        return len(self._open)

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            hello = await self._hello(socket)
            if self._ends:
                raise _End(_RESTART, "the server is shutting down")
            if len(self._open) >= self._settings.streams:
                raise _End(_LATER, f"{self._settings.streams} streams are live, and no more may be; try again later")
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            try:
                await self._streamed(socket, hello)
            finally:
                self._open.discard(task)
        except _End as end:
            await _closed(socket, end.code, end.reason)
        except WebSocketDisconnect:
            pass
        except asyncio.CancelledError:
            if not self._ends:
                raise
            await _closed(socket, _RESTART, "the server is shutting down")
        except FullError as error:
            await _closed(socket, _LATER, str(error))
        except (SettingError, InputError) as error:
            await _closed(socket, _POLICY, str(error))
        except Exception as error:
            if not isinstance(error, TrtmatteError):
                _LOG.error("a stream failed: %s: %s", type(error).__name__, error, exc_info=error)
            await _closed(socket, _FAILED, "the server failed; its log has the reason")

    def close(self) -> None:
        """End all streams."""
        self._ends = True
        for task in list(self._open):
            task.cancel()
        self._threads.shutdown(wait=False)

    async def _hello(self, socket: WebSocket) -> _Hello:
        if self._hellos >= _MOST_HELLOS:
            raise _End(_LATER, "too many clients come at the same time; try again later")
        self._hellos += 1
        try:
            text = await asyncio.wait_for(socket.receive_text(), _HELLO)
        except asyncio.TimeoutError:
            raise _End(_POLICY, f"no message came in {_HELLO:g} seconds; expected one in JSON") from None
        except KeyError:
            raise _End(_POLICY, "the first message is binary; expected text, in JSON") from None
        finally:
            self._hellos -= 1
        given = _json(text)
        if not is_token(given.get("token"), self._settings.token):
            raise _End(_POLICY, "the token is missing or wrong")
        return _Hello.of(given)

    async def _streamed(self, socket: WebSocket, hello: _Hello) -> None:
        model = self._shelf.lend(hello.model)
        try:
            stream = _Stream(socket, hello, model, self._settings, self._metrics, self._threads)
            try:
                await socket.send_text(json.dumps({"ready": True, "model": model.name}))
                await stream.run()
            finally:
                stream.leave()
        finally:
            self._shelf.take_back(model)


@dataclass(frozen=True)
class _Hello:
    """The first message of a client."""

    model: str | None
    codec: str
    is_raw: bool
    foreground: bool

    @classmethod
    def of(cls, given: dict[str, Any]) -> _Hello:
        model, codec, alpha = given.get("model"), given.get("codec", "vp8"), given.get("alpha", "png")
        if not (model is None or isinstance(model, str)):
            raise _End(_POLICY, "model is no text; expected a model's name")
        if codec not in CODECS:
            raise _End(_POLICY, f"codec is {codec!r}; expected {', '.join(CODECS)}")
        if alpha not in ("png", "raw"):
            raise _End(_POLICY, f"alpha is {alpha!r}; expected png or raw")
        return cls(model or None, codec, alpha == "raw", given.get("foreground") is True)


class _End(Exception):  # noqa: N818 - it is an answer
    """The server closes a stream."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class _UnderWay:
    """A frame that waits for its matte, or is matted."""

    def __init__(self, number: int, arrived: float, matte: Future[Matte]) -> None:
        self.number, self.arrived, self.matte = number, arrived, matte
        self.seconds, began = 0.0, perf_counter()

        def done(_: Future[Matte]) -> None:
            self.seconds = perf_counter() - began

        matte.add_done_callback(done)


class _Stream:
    """One stream: its frames are decoded in their order, and answered in their order."""

    def __init__(
        self,
        socket: WebSocket,
        hello: _Hello,
        model: ServedModel,
        settings: Settings,
        metrics: Metrics,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._socket, self._hello, self._model, self._metrics = socket, hello, model, metrics
        self._threads = threads
        self._decode = PacketDecoder(hello.codec, settings.limits)
        self._size: tuple[int, int] | None = None
        self._slot: Stream | None = None
        self._under_way: asyncio.Queue[_UnderWay] = asyncio.Queue(_MOST_WAITING)
        self._bad = 0  # frames in turn that could not be read

    async def run(self) -> None:
        reading, answering = asyncio.create_task(self._read()), asyncio.create_task(self._answer())
        try:
            done, _ = await asyncio.wait((reading, answering), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reading, answering):
                task.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)

    def leave(self) -> None:
        if self._slot is not None:
            self._slot.leave()
            self._slot = None

    async def _read(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), _SILENCE)
            except asyncio.TimeoutError:
                raise _End(_POLICY, f"no frame came in {_SILENCE:g} seconds") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            if (data := message.get("bytes")) is not None:
                await self._take(data)
            elif _json(message.get("text") or "").get("reset") and self._slot is not None:
                self._slot.reset()

    async def _take(self, data: bytes) -> None:
        arrived = perf_counter()
        if len(data) < _FRAME.size:
            raise _End(_POLICY, f"a frame has {len(data)} bytes; expected a header of {_FRAME.size}, then the frame")
        number, kind, matrix, is_full, width, height = _FRAME.unpack_from(data)
        if matrix >= len(_MATRICES):
            raise _End(_POLICY, f"the matrix of a frame is {matrix}; expected 0 or 1")
        try:
            frame = await self._on_thread(
                partial(
                    self._decode,
                    data[_FRAME.size :],
                    (width, height),
                    is_key=kind == 1,
                    matrix=_MATRICES[matrix],
                    full_range=is_full == 1,
                )
            )
        except InputError as error:
            self._bad += 1
            if self._bad > _WORST or self._hello.codec in ("jpeg", "i420"):
                raise _End(_POLICY, str(error)) from error
            await self._send(_dropped(number))
            await self._socket.send_text(json.dumps({"key": True}))
            return
        self._bad = 0
        slot = await self._slot_for((frame.shape[1], frame.shape[0]))
        await self._under_way.put(_UnderWay(number, arrived, slot.submit(frame)))

    async def _slot_for(self, size: tuple[int, int]) -> Stream:
        """The slot in the streams of this shape: another one when the camera has been turned."""
        if self._slot is None or size != self._size:
            self.leave()
            joining = asyncio.ensure_future(asyncio.to_thread(self._model.join, size, self._hello.foreground))
            try:
                self._slot, self._size = await asyncio.shield(joining), size
            except asyncio.CancelledError:  # the thread goes on, and would keep the slot
                joining.add_done_callback(_left)
                raise
        return self._slot

    async def _answer(self) -> None:
        while True:
            frame = await self._under_way.get()
            await asyncio.wait((asyncio.wrap_future(frame.matte),))
            if frame.matte.cancelled():  # a newer frame came
                self._metrics.dropped.inc()
                await self._send(_dropped(frame.number))
                continue
            await self._send(
                await self._on_thread(partial(self._packed, frame.number, frame.matte.result(), frame.seconds))
            )
            self._metrics.frames.inc()
            self._metrics.frame_seconds.observe(perf_counter() - frame.arrived)

    def _packed(self, number: int, matte: Matte, seconds: float) -> bytes:
        alpha = np.asarray(matte["pha"])
        form, packed = (_RAW, alpha.tobytes()) if self._hello.is_raw else (_PNG, _png(alpha))
        colours = _jpeg(np.asarray(matte["fgr"])) if self._hello.foreground else b""
        height, width = alpha.shape[:2]
        header = _ANSWER.pack(number, _MATTED, form, width, height, len(packed), len(colours), seconds * 1000)
        return b"".join((header, packed, colours))

    async def _send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _dropped(number: int) -> bytes:
    return _ANSWER.pack(number, _DROPPED, 0, 0, 0, 0, 0, 0.0)


def _left(joining: asyncio.Future[Stream]) -> None:
    if not joining.cancelled() and joining.exception() is None:
        joining.result().leave()


def _png(alpha: Array) -> bytes:
    return still.encoded(alpha, "png", name="the alpha")


def _jpeg(colours: Array) -> bytes:
    return still.encoded(colours, "jpeg", quality=_QUALITY, name="the foreground")


def _json(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise _End(_POLICY, "a message is no object of JSON")
    return given


async def _closed(socket: WebSocket, code: int, reason: str) -> None:
    """Close a WebSocket, whose reason may have 123 bytes."""
    try:
        await socket.close(code, reason.encode()[:123].decode(errors="ignore"))
    except (RuntimeError, WebSocketDisconnect):  # it is closed already
        return
