"""Requests and answers as JSON lines: `{"id": 1, "image": "…"}`, with the bytes of a picture's file in base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from trtmatte.errors import InputError
from trtmatte.media.ffmpeg import reason
from trtmatte.media.still import Encoded
from trtmatte.support.limits import SAFE, Limits
from trtmatte.support.stoppable import StoppableInput

__all__ = ["Key", "LineSplitter", "Request", "RequestError", "RequestLines", "answer", "read_request", "refusal"]

_CHUNK: Final = 1 << 20
_EXPECTED: Final = "expected an id and an image, a picture's file in base64"


Key = dict[str, Any]
"""The id of a request; without one, null and the number of the line."""


@dataclass(frozen=True)
class Request:
    """A picture to matte, and the key that its answer repeats."""

    key: Key
    picture: Encoded


class RequestError(InputError):
    """A line is no request."""

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key


class LineSplitter:
    """The lines of a text that comes in parts, each with its number. Empty lines are left out, but counted."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._most = _longest(limits)
        self._line, self._number = bytearray(), 1

    def split(self, part: bytes) -> Iterator[tuple[int, bytes]]:
        """Give the lines that end in this part. One that is too long is cut, which makes it no request."""
        *ended, rest = part.split(b"\n")
        for each in ended:
            self._line += each
            yield from self.rest()
            self._number += 1
        if len(self._line) <= self._most:
            self._line += rest

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """Give what follows the last end of a line."""
        line, self._line = bytes(self._line), bytearray()
        if line.strip():
            yield self._number, line


class RequestLines:
    """The lines of a pipe, in turn, each with its number."""

    def __init__(self, pipe: BinaryIO, limits: Limits | None = None) -> None:
        self._input = StoppableInput(pipe)
        self._limits = limits

    def stop(self) -> None:
        """End the lines, even if the pipe is silent."""
        self._input.stop()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        splitter, chunk = LineSplitter(self._limits), bytearray(_CHUNK)
        while count := self._read(memoryview(chunk)):
            yield from splitter.split(bytes(chunk[:count]))
        if not self._input.is_stopped:
            yield from splitter.rest()

    def request(self, number: int, line: bytes) -> Request:
        """Return the request in a line. Raises a RequestError if it is none."""
        return read_request(number, line, self._limits)

    def _read(self, chunk: memoryview) -> int:
        try:
            return self._input.readinto(chunk)
        except (OSError, ValueError) as error:
            raise InputError(f"standard input cannot be read: {reason(error)}") from error


def read_request(number: int, line: bytes, limits: Limits | None = None) -> Request:
    """Return the request in a line. Raises a RequestError if it is none."""
    if len(line) > (most := _longest(limits)):
        raise RequestError(_key(None, number), f"line {number} has more than {most} bytes: it is too long")
    try:
        given = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RequestError(_key(None, number), f"line {number} is no JSON: {error}; {_EXPECTED}") from error
    key = _key(given.get("id") if isinstance(given, dict) else None, number)
    text = given.get("image") if isinstance(given, dict) else None
    if not isinstance(text, str):
        raise RequestError(key, f"line {number} has no image; {_EXPECTED}")
    if text.startswith("data:"):  # an address with the picture in it, as browsers write it
        text = text.partition(",")[2]
    try:
        return Request(key, Encoded(base64.b64decode(text, validate=True)))
    except ValueError as error:
        raise RequestError(key, f"the image of line {number} is no base64: {error}") from error


def answer(key: Key, image: bytes) -> bytes:
    """Return the line that answers a request."""
    return _line({**key, "image": base64.b64encode(image).decode()})


def refusal(key: Key, error: object) -> bytes:
    """Return the line that answers a request that failed."""
    return _line({**key, "error": str(error)})


def _longest(limits: Limits | None) -> int:
    """The bytes of a line, at most: a file in base64, with room for the id."""
    return (limits or SAFE).file_bytes * 4 // 3 + _CHUNK


def _key(id: Any, number: int) -> Key:
    return {"id": None, "line": number} if id is None else {"id": id}


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no value of JSON")
