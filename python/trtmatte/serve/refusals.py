"""Refusals of requests: a status and a sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse, Response

from trtmatte.errors import DownloadError, FrameError, FullError, InputError, OutputError, SettingError, TrtmatteError

__all__ = ["Refusal", "answer_of", "of_error"]

_LOG: Final = logging.getLogger("trtmatte")
_STATUS: Final = (  # of the first kind that an error is
    (FullError, 429),
    (SettingError, 400),
    (InputError, 422),
    (FrameError, 422),
    (OutputError, 422),
    (DownloadError, 503),
    (MemoryError, 503),
)
_NO_MEMORY: Final = "there is not enough memory for this now; try again later, or with a smaller picture"
_DEFECT: Final = "the server failed; its log has the reason"


class Refusal(Exception):  # noqa: N818 - it is an answer
    """A request gets no picture."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def of_error(error: BaseException, retry_after: int = 1) -> Refusal:
    """The refusal for an error. A defect is told to the log, and not to strangers."""
    if isinstance(error, Refusal):
        return error
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        _LOG.error("a request failed: %s: %s", type(error).__name__, error, exc_info=error)
    message = str(error) if isinstance(error, TrtmatteError) else _NO_MEMORY if status == 503 else _DEFECT
    return Refusal(status, message, {"Retry-After": str(retry_after)} if status in (429, 503) else {})


def answer_of(refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.message}, refusal.status, refusal.headers)
