"""Pictures from other hosts, for `GET /api/remove?url=…`: only from those that are named, never from this network."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from trtmatte.serve.refusals import Refusal

__all__ = ["fetch"]

_REDIRECTS: Final = 4
_BLOCK: Final = 1 << 16
_MOVED: Final = (301, 302, 303, 307, 308)
_PORTS: Final = {"http": 80, "https": 443}


def fetch(address: str, hosts: Collection[str], most: int, seconds: float) -> bytes:
    """The bytes at an address. Every redirect is checked as the first address is.

    A host is connected to by the numeric address that was checked, so that its name cannot mean another one then.
    """
    end = time.monotonic() + seconds
    for _ in range(_REDIRECTS + 1):
        parts = _checked(address, hosts)
        connection = _connected(parts, end)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"User-Agent": "trtmatte", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status in _MOVED:
                address = urljoin(address, response.headers.get("Location", ""))
                continue
            if response.status != http.client.OK:
                raise Refusal(422, f"{parts.hostname} answered {response.status}; expected the picture")
            return _read(response, connection, most, end)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refusal(422, f"the picture of {parts.hostname} could not be fetched: {error}") from error
        finally:
            connection.close()
    raise Refusal(422, f"the address leads on {_REDIRECTS} times and further; expected the picture's own")


def _checked(address: str, hosts: Collection[str]) -> SplitResult:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise Refusal(400, f"url is {address!r}: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or not address.isascii():
        raise Refusal(400, f"url is {address!r}; expected http:// or https:// and a host, in ASCII")
    if any(letter <= " " or letter == "\x7f" for letter in address):
        raise Refusal(400, f"url is {address!r}; expected no spaces or control characters")
    if parts.hostname.lower() not in {each.lower() for each in hosts}:
        raise Refusal(403, f"pictures of {parts.hostname} are not fetched; start the server with --allow-url to do so")
    if port not in (None, *_PORTS.values()):
        raise Refusal(403, f"the port is {port}; expected {' or '.join(map(str, _PORTS.values()))}")
    return parts


def _connected(parts: SplitResult, end: float) -> http.client.HTTPConnection:
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    connection = http.client.HTTPConnection(host, port)
    try:
        plain = socket.create_connection((_public_address(host, port), port), max(0.1, end - time.monotonic()))
        is_secure = parts.scheme == "https"
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if is_secure else plain
    except OSError as error:
        raise Refusal(422, f"{host} cannot be reached: {error}") from error
    return connection


def _public_address(host: str, port: int) -> str:
    """The numeric address of a host, which is on the public network with all its addresses."""
    try:
        found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise Refusal(422, f"{host} is not found: {error}") from error
    if not found or not all(map(is_public, found)):
        raise Refusal(403, f"{host} is on a private network, from which no pictures are fetched")
    return found[0]


def is_public(address: str) -> bool:
    """Report if a numeric address is one of the public network, whatever it is wrapped in."""
    try:
        number = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(number, "ipv4_mapped", None) or getattr(number, "sixtofour", None)
    return bool(number.is_global and not number.is_multicast and (inner is None or is_public(str(inner))))


def _read(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, most: int, end: float) -> bytes:
    data = bytearray()
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise Refusal(422, "the picture did not arrive in time")
        if connection.sock is not None:  # the response may have taken it
            connection.sock.settimeout(left)
        block = response.read1(_BLOCK)
        if not block:
            return bytes(data)
        data += block
        if len(data) > most:
            raise Refusal(413, f"the picture has more than {most} bytes; expected {most} at most")
