"""The file and the fields of a request, with the names that rembg's server gives them."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from trtmatte.apps.picture_queue import Wanted
from trtmatte.errors import SettingError, TrtmatteError
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.runtime.session.background import read_background
from trtmatte.serve.refusals import Refusal
from trtmatte.support.colours import COLOURS

__all__ = ["FIELDS", "MEDIA_TYPES", "Asked", "Body", "Budget", "read_fields", "read_form"]

FIELDS: Final = {
    "model": "the name of a model; left out, the server's own",
    "om": "only the mask: true gives the alpha as a grey picture",
    "ppm": "post-process the mask: true gives a mask without grey",
    "bgc": "the background colour, R,G,B or R,G,B,A, where A is 255, or 0 for a cut-out",
    "background": "a colour's name, #rrggbb, R,G,B or blur: gives a composite",
    "format": "png, webp or jpeg; left out, png",
    "quality": "of webp and jpeg, 1 to 100; left out, 95; 100 makes webp lossless",
    "a": "rembg's alpha matting: accepted, and not needed, since edges have the foreground's own colours",
    "af": "rembg's alpha matting: accepted, and not used",
    "ab": "rembg's alpha matting: accepted, and not used",
    "ae": "rembg's alpha matting: accepted, and not used",
    "extras": "rembg's further options: left out, or {}",
}
"""The fields of a request that asks for pictures, in its form or in its address."""

MEDIA_TYPES: Final = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

_TRUE, _FALSE = ("1", "on", "t", "true", "y", "yes"), ("", "0", "f", "false", "n", "no", "off")
_SAFE: Final = re.compile(r"#[0-9a-f]{6}|#[0-9a-f]{3}|blur(:[0-9]{1,4}(\.[0-9]{1,4})?)?")
_MORE_FIELDS: Final = 8  # that are not ours
_FIELD_BYTES: Final = 1 << 12
_IN_MEMORY: Final = 1 << 62
_TOO_LARGE: Final = "the request has more than {} bytes; expected {} at most"
_NO_FILE: Final = "the form has no file; expected a picture in the field `file`"


@dataclass(frozen=True)
class Asked:
    """A request for one picture, or for many with the same fields."""

    model: str | None
    wanted: Wanted

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.wanted.format]


class Budget:
    """The bytes that all requests together may hold, for their bodies."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0

    def take(self, count: int) -> None:
        if self._held + count > self._most:
            raise Refusal(429, "too many uploads at the same time; try again later", {"Retry-After": "1"})
        self._held += count

    def give_back(self, count: int) -> None:
        self._held -= count

    @contextmanager
    def held(self, count: int) -> Iterator[None]:
        """Hold so many bytes meanwhile."""
        self.take(count)
        try:
            yield
        finally:
            self.give_back(count)


class Body:
    """The body of a request, in parts, and not longer than it may be."""

    def __init__(self, request: Request, most: int, budget: Budget) -> None:
        self._request, self._most, self._budget = request, most, budget
        self._held = 0
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > most:
            raise Refusal(413, _TOO_LARGE.format(most, most), {"Connection": "close"})

    async def parts(self) -> AsyncGenerator[bytes, None]:
        try:
            async for part in self._request.stream():
                self._budget.take(len(part))
                self._held += len(part)
                if self._held > self._most:
                    raise Refusal(413, _TOO_LARGE.format(self._most, self._most), {"Connection": "close"})
                yield part
        except ClientDisconnect:
            raise Refusal(499, "the client has gone") from None

    def let_go(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0


class _InMemory(MultiPartParser):
    spool_max_size = _IN_MEMORY  # nothing of a picture is written to a disk


async def read_form(request: Request, body: Body) -> tuple[bytes, Mapping[str, str]]:
    """The file of a form and its other fields. Those of the address count where the form has none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        raise Refusal(400, _NO_FILE)
    if kind != "multipart/form-data":
        raise Refusal(415, f"the content type is {kind or 'missing'}; expected multipart/form-data with the field file")
    try:
        form = await _InMemory(
            Headers(scope=request.scope),
            body.parts(),
            max_files=1,
            max_fields=len(FIELDS) + _MORE_FIELDS,
            max_part_size=_FIELD_BYTES,
        ).parse()
    except (MultiPartException, FormParserError) as error:
        raise Refusal(400, f"the form cannot be read: {getattr(error, 'message', error)}") from error
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refusal(400, _NO_FILE)
    try:
        data = await file.read()
    finally:
        await file.close()
    return data, {**request.query_params, **{name: each for name, each in form.items() if isinstance(each, str)}}


def read_fields(fields: Mapping[str, str]) -> Asked:
    """Read the fields. Raises a SettingError for a value that cannot be."""
    _flag(fields, "a")
    is_mask, is_plain = _flag(fields, "om"), _flag(fields, "ppm")
    if fields.get("extras", "").strip() not in ("", "{}", "null"):
        raise SettingError(f"extras is {fields['extras']!r}; the models here have no further options: leave it out")
    background = _background(fields)
    kind = "alpha" if is_mask else "rgba" if background is None else "composite"
    format = fields.get("format") or "png"
    if format not in MEDIA_TYPES:
        raise SettingError(f"format is {format!r}; expected {', '.join(MEDIA_TYPES)}")
    if format == "jpeg" and kind == "rgba":
        raise SettingError("format is 'jpeg', which has no transparency; expected png or webp, or a background")
    behind = _behind(background) if kind == "composite" else _behind(None)
    wanted = Wanted(kind, is_plain, behind, format, _quality(fields.get("quality") or "95"))
    return Asked(fields.get("model") or None, wanted)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    value = fields.get(name, "").strip().lower()
    if value not in (*_TRUE, *_FALSE):
        raise SettingError(f"{name} is {fields[name]!r}; expected true or false")
    return value in _TRUE


def _quality(text: str) -> int:
    if not (text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 100):
        raise SettingError(f"quality is {text!r}; expected 1 to 100")
    return int(text)


def _background(fields: Mapping[str, str]) -> str | None:
    """The background that is asked for; None for a cut-out."""
    ours, theirs = fields.get("background", "").strip(), fields.get("bgc", "").strip()
    if ours and theirs:
        raise SettingError("background and bgc are both given; give one of them")
    if theirs and theirs.replace(" ", "").endswith(",0") and theirs.count(",") == 3:
        return None
    return ours or theirs or None


@functools.lru_cache(maxsize=64)
def _behind(given: str | None) -> FrameBackground:
    """The background of a composite. Only colours and blur: a name must never open a file of this machine."""
    background = FrameBackground(None)
    if given is None:
        return background
    word = given.strip().lower()
    try:
        if word.count(",") in (2, 3):
            background = FrameBackground(word)
        elif word in COLOURS or _SAFE.fullmatch(word):
            background.fixed = word
        else:
            raise SettingError("it is none of these")
        read_background(background.fixed, "rgb")
    except TrtmatteError as error:
        raise SettingError(f"background is {given!r}; expected a colour's name, #rrggbb, R,G,B or blur") from error
    return background
