"""The frames of an address, read one by one as OpenCV reads those of a camera."""

from __future__ import annotations

from typing import Any

import numpy as np

from trtmatte.errors import TrtmatteError
from trtmatte.media.places import is_stream
from trtmatte.media.video import VideoSource
from trtmatte.support.limits import Limits

__all__ = ["NetworkCapture"]


class NetworkCapture:
    """Read BGR frames from an address. `error` is the reason for an end that is none of the stream's own."""

    def __init__(self, address: str, limits: Limits | None = None) -> None:
        # One thread: several would hold frames back.
        self._source = VideoSource(address, threads=1, order="bgr24", limits=limits)
        self._frames: Any = self._source.frames()
        self.fps = float(self._source.facts.rate)
        self.is_film = self._source.facts.count is not None and not is_stream(address)
        """The address is that of a film, which comes as fast as it is read."""
        self.error: TrtmatteError | None = None

    def read(self) -> tuple[bool, np.ndarray[Any, Any] | None]:
        """Return True and the next frame, or False and None at the end."""
        try:
            frame = next(self._frames, None)
        except TrtmatteError as error:
            self.error = error
            frame = None
        return (False, None) if frame is None else (True, frame.picture)

    def release(self) -> None:
        self._frames.close()
