"""The server: a site on a port, until it is asked to end. What it has taken is answered before."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import uvicorn

from trtmatte.errors import SettingError
from trtmatte.serve.protocol import PatientHttp, PatientWebSocket
from trtmatte.serve.settings import Settings
from trtmatte.serve.site import Site, site

__all__ = ["Server"]

_BACKLOG: Final = 512
_CONNECTIONS: Final = 1024
_KEEP_ALIVE: Final = 15  # seconds
_PATIENCE: Final = 120  # seconds for the answers under way, at the end
_PING: Final = 20.0  # seconds, so that no proxy takes a stream for dead
_MESSAGE: Final = 1 << 24  # bytes of a live frame: one of 4K as it is in memory fits


class Server:
    """Answers on one address. `run` returns after `stop`."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 7000,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        """The port is taken at once; 0 takes a free one."""
        self._socket = _bound(host, port)
        try:
            application = site(settings)
            self.site: Site = application.state.site
            config = uvicorn.Config(
                application,
                http=PatientHttp,
                ws=PatientWebSocket,
                ws_max_size=_MESSAGE,
                ws_per_message_deflate=False,
                ws_ping_interval=_PING,
                ws_ping_timeout=None,  # a stream that waits for its model reads no answers
                limit_concurrency=_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_PATIENCE,
                log_config=None,
                access_log=False,
                server_header=False,
                ssl_certfile=certfile,
                ssl_keyfile=keyfile,
            )
            with _named(certfile, keyfile):
                config.load()
        except BaseException:
            self._socket.close()
            raise
        self._server = _Quiet(config, self.site)
        self.address = _address(self._socket, is_secure=certfile is not None)

    def run(self) -> None:
        """Answer until `stop`."""
        warming = threading.Thread(target=self.site.warm_up, name="trtmatte-warming-up", daemon=True)
        warming.start()
        with closing(self._socket):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Take no more requests, answer those that were taken, and end. Any thread and signal handlers may call it."""
        self._server.should_exit = True


class _Quiet(uvicorn.Server):
    """Leaves signals to the command, and ends live streams first: they would go on for hours."""

    def __init__(self, config: uvicorn.Config, found: Site) -> None:
        super().__init__(config)
        self._site = found

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        self._site.end()
        await super().shutdown(sockets)


def _bound(host: str, port: int) -> socket.socket:
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingError(f"host is {host!r}: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingError(
            f"port {port} of {host} cannot be had: {error.strerror or error}; name another one"
        ) from error
    return bound


def _address(bound: socket.socket, *, is_secure: bool) -> str:
    host, port, *_ = bound.getsockname()
    return f"{'https' if is_secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _named(certfile: str | None, keyfile: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"the certificate {certfile} with the key {keyfile or certfile} cannot be used: {error}"
        ) from error
