"""Who may ask: the checks before every request, and the headers of every answer (an ASGI middleware)."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trtmatte.serve.refusals import Refusal, answer_of
from trtmatte.serve.settings import Settings

__all__ = ["Guard", "is_token"]

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob: "
        "mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CORS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
_BEARER: Final = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)
_PORT: Final = re.compile(r":\d{1,5}\Z")
_HOST: Final = "the server is not called {!r} here; reach it by its address, or start it with --allow-host {}"
_ORIGIN: Final = "pages of {} may not use this server; start it with --allow-origin {}"
_TOKEN: Final = "the token is missing or wrong; expected the header Authorization: Bearer TOKEN"


class Guard:
    """Refuses requests with another token, under a name that is not the server's, or from pages of other sites.

    A page of a stranger can give its own name the address of this machine. Its requests would then come from a page
    of the same site: only their Host, the stranger's name, tells.
    """

    def __init__(self, app: ASGIApp, settings: Settings, public: Collection[str], in_messages: Collection[str]) -> None:
        """`public` are paths for which no token is needed, or what those begin with that end with a slash. Those
        `in_messages` check the token themselves."""
        self._app, self._token = app, settings.token
        self._hosts = {*settings.hosts, *_own_names()}
        self._origins = set(settings.origins)
        self._open = {*public, *in_messages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin in self._origins else None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, **_cors(allowed)}.items():
                    answer.setdefault(name, value)
            await send(message)

        try:
            self._require_allowed(headers)
            if scope["type"] == "http" and scope["method"] == "OPTIONS" and allowed:
                await Response(status_code=204, headers=_CORS)(scope, receive, send_with_headers)
                return
            self._require_token(scope["path"], headers)
        except Refusal as refusal:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            else:
                await answer_of(refusal)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _require_allowed(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        name = _PORT.sub("", host).lower()
        if not _is_numeric(name) and name not in self._hosts:
            raise Refusal(403, _HOST.format(name, name or "NAME"))
        origin = headers.get("origin")
        is_known = origin is None or origin in self._origins
        if not is_known and urlsplit(origin).netloc.lower() != host.lower():  # the scheme may be that of a proxy
            raise Refusal(403, _ORIGIN.format(origin or "no site", origin or "ORIGIN"))

    def _require_token(self, path: str, headers: Mapping[str, str]) -> None:
        if path in self._open or any(
            path.startswith(each) for each in self._open if each.endswith("/") and each != "/"
        ):
            return
        found = _BEARER.fullmatch(headers.get("authorization", ""))
        if not is_token(found[1] if found else None, self._token):
            raise Refusal(401, _TOKEN, {"WWW-Authenticate": "Bearer"})


def is_token(given: object, token: str | None) -> bool:
    """Report if what is given is the token, in a time that does not tell how much of it is right."""
    if token is None:
        return True
    return isinstance(given, str) and hmac.compare_digest(given.encode(), token.encode())


def _cors(allowed: str | None) -> dict[str, str]:
    if allowed is None:
        return {"Vary": "Origin"}
    more = {"Access-Control-Allow-Origin": allowed, "Cross-Origin-Resource-Policy": "cross-origin", "Vary": "Origin"}
    return {**more, "Access-Control-Expose-Headers": "Retry-After"}


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {"localhost", name, f"{name}.local"} - {"", ".local"}


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
