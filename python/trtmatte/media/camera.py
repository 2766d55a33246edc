"""A camera, or a film or an address that is played like one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media import camera_devices
from trtmatte.media.containers import OF_FILES
from trtmatte.media.network_capture import NetworkCapture
from trtmatte.media.opencv import opencv, silent
from trtmatte.media.places import place_of
from trtmatte.media.source import MOST_RATE, size_of
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

_PATIENCE: Final = 10.0  # seconds; cameras wake up slowly
_PATIENCE_AT_END: Final = 1.0  # for an address, whose thread may wait for its sender
_USUAL_FPS: Final = 30.0
_FFMPEG_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


@dataclass(frozen=True)
class CameraFrame:
    picture: np.ndarray[Any, Any]  # uint8 (H, W, 3), BGR
    time: float  # when it came, by time.perf_counter


class Camera:
    """A camera that returns its newest frame and drops older ones, so that the delay does not grow.

    `source` is the number or the file of a camera, an address, or the path of a video, which plays at its own rate and
    ends. `size` and `fps` are requests; `self.size` and `self.fps` are the actual values. A camera starts with the
    first `newest()`, an address at once. With `limits`, for files of strangers, addresses are refused.
    """

    def __init__(
        self,
        source: int | str | Path,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        cv = opencv("a camera", "live")
        place = source if isinstance(source, int) else _place(source)
        self.name = f"camera {place}" if isinstance(place, int) else str(place)
        size = None if size is None else size_of("resolution", size)
        if fps is not None and not 0 < fps <= MOST_RATE:
            raise SettingError(f"{option('fps')} is {fps}; expected frames a second, above 0 and at most {MOST_RATE}")
        self._capture: Any
        self._stream = NetworkCapture(place, limits) if isinstance(place, str) else None
        self._is_film = isinstance(place, Path) if self._stream is None else self._stream.is_film
        self._capture = self._stream or self._opened(cv, place, size, fps)
        with silent(cv):
            there, picture = self._capture.read()
        if not there:
            self._capture.release()
            raise InputError(f"{self.name} sends no frames; {self._remedy()}")
        self.size: tuple[int, int] = picture.shape[1], picture.shape[0]
        told = self._capture.get(cv.CAP_PROP_FPS) if self._stream is None else self._stream.fps
        self.fps: float = told if 0.1 <= told <= MOST_RATE else fps or _USUAL_FPS  # headers can be damaged
        self.is_address = self._stream is not None
        self.dropped = 0
        self._changed = threading.Condition()
        self._first = picture
        self._newest: CameraFrame | None = None
        self._ended = self._closing = False
        self._thread = threading.Thread(target=self._read, name=self.name, daemon=True)
        self._is_begun = False
        if self._stream is not None and not self._is_film:
            self._thread.start()  # a sender that is not read for long gives up

    def newest(self) -> CameraFrame | None:
        """Wait for a new frame and return the newest; None after the last frame of a video or an address."""
        if not self._is_begun:
            self._begin()
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest or self._ended, _PATIENCE):
                raise TruncatedError(f"{self.name} has sent no frame for {_PATIENCE:.0f} seconds; {self._remedy()}")
            shot, self._newest = self._newest, None
        if shot is None and self._stream is not None and self._stream.error is not None:
            raise self._stream.error
        if shot is None and self._stream is None and not self._is_film:
            raise TruncatedError(f"{self.name} sends no more frames; {self._remedy()}")
        return shot

    def _begin(self) -> None:
        self._is_begun = True
        if self._thread.ident is not None:
            self.dropped = 0  # those that came before anybody asked
            return
        # The first one of a camera is old by now.
        self._newest = CameraFrame(self._first, time.perf_counter()) if self._is_film else None
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        if self._thread.ident is None:
            self._capture.release()
        else:
            self._thread.join(_PATIENCE if self._stream is None else _PATIENCE_AT_END)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, cv: Any, source: int | Path | str, size: tuple[int, int] | None, fps: float | None) -> Any:
        with silent(cv), _only_files():
            capture = cv.VideoCapture(source) if isinstance(source, int) else cv.VideoCapture(*_film(cv, source))
        if not capture.isOpened():
            if isinstance(source, int):
                raise InputError(camera_devices.refusal(source))
            raise InputError(f"{self.name} cannot be opened; {self._remedy()}")
        if not self._is_film:
            # Compressed: few cameras have the bandwidth for large frames otherwise.
            capture.set(cv.CAP_PROP_FOURCC, cv.VideoWriter.fourcc(*"MJPG"))
            if size is not None:
                capture.set(cv.CAP_PROP_FRAME_WIDTH, size[0])
                capture.set(cv.CAP_PROP_FRAME_HEIGHT, size[1])
            if fps is not None:
                capture.set(cv.CAP_PROP_FPS, fps)
        return capture

    def _remedy(self) -> str:
        if self._stream is not None:
            return "is its sender running?"
        if self._is_film:
            return "it is no video that OpenCV can read"
        return f"is it plugged in, and is no other program using it? {option('camera')} takes another one, or a video"

    def _read(self) -> None:
        try:
            began, count = time.perf_counter(), 0
            while not self._closing and (picture := self._capture.read()[1]) is not None:
                count += 1
                if self._is_film:
                    time.sleep(max(0.0, began + count / self.fps - time.perf_counter()))
                with self._changed:
                    self.dropped += self._newest is not None
                    self._newest = CameraFrame(picture, time.perf_counter())
                    self._changed.notify()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
            self._capture.release()


def _place(source: str | Path) -> int | Path | str:
    """The number of a camera, the path of a video, or an address."""
    place = place_of(source)
    if not isinstance(place, Path):
        return place
    if (number := camera_devices.number_of(str(place))) is not None:
        return number
    if not os.path.isfile(place):
        raise InputError(
            f"there is no video {place}; expected the number or the file of a camera, a video file, or an address"
        )
    return place


def _film(cv: Any, path: Path | str) -> tuple[str, int]:
    """The arguments for opening a file as a file: OpenCV takes names for addresses, and for patterns of pictures."""
    return f"file:{path}", cv.CAP_FFMPEG


@contextmanager
def _only_files() -> Iterator[None]:
    """Let FFmpeg in OpenCV open no other file than the one that it is given."""
    before = os.environ.get(_FFMPEG_OPTIONS)
    os.environ[_FFMPEG_OPTIONS] = "|".join(f"{name};{value}" for name, value in OF_FILES.items())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FFMPEG_OPTIONS]
        else:
            os.environ[_FFMPEG_OPTIONS] = before
