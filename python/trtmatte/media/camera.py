"""A camera, or a video file that is played like one."""

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
from trtmatte.media.containers import OF_FILES
from trtmatte.media.opencv import opencv, silent
from trtmatte.media.source import MOST_RATE, size_of
from trtmatte.support.options import option

_PATIENCE: Final = 10.0  # seconds; cameras wake up slowly
_USUAL_FPS: Final = 30.0
_FFMPEG_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


@dataclass(frozen=True)
class CameraFrame:
    picture: np.ndarray[Any, Any]  # uint8 (H, W, 3), BGR
    time: float  # when it came, by time.perf_counter


class Camera:
    """A camera that returns its newest frame and drops older ones, so that the delay does not grow.

    `source` is the number of a camera or the path of a video, which plays at its own rate and ends. `size` and `fps`
    are requests; `self.size` and `self.fps` are the actual values. The camera starts with the first `newest()`.
    """

    def __init__(self, source: int | str | Path, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        cv = opencv("a camera", "live")
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        self._is_film = not isinstance(source, int)
        if not isinstance(source, int) and not os.path.isfile(source):
            raise InputError(f"there is no video {source}; expected the number of a camera, or a video file")
        size = None if size is None else size_of("resolution", size)
        if fps is not None and not 0 < fps <= MOST_RATE:
            raise SettingError(f"{option('fps')} is {fps}; expected frames a second, above 0 and at most {MOST_RATE}")
        self._capture = self._opened(cv, source, size, fps)
        with silent(cv):
            there, picture = self._capture.read()
        if not there:
            self._capture.release()
            raise InputError(f"{self.name} sends no frames; {self._remedy()}")
        self.size: tuple[int, int] = picture.shape[1], picture.shape[0]
        told = self._capture.get(cv.CAP_PROP_FPS)
        self.fps: float = told if 0.1 <= told <= MOST_RATE else fps or _USUAL_FPS  # headers can be damaged
        self.dropped = 0
        self._changed = threading.Condition()
        self._first = picture
        self._newest: CameraFrame | None = None
        self._ended = self._closing = False
        self._thread = threading.Thread(target=self._read, name=self.name, daemon=True)

    def newest(self) -> CameraFrame | None:
        """Wait for a new frame and return the newest; None after the last frame of a video."""
        if self._thread.ident is None:
            self._newest = (
                CameraFrame(self._first, time.perf_counter()) if self._is_film else None
            )  # a camera's is old by now
            self._thread.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest or self._ended, _PATIENCE):
                raise TruncatedError(f"{self.name} has sent no frame for {_PATIENCE:.0f} seconds; {self._remedy()}")
            shot, self._newest = self._newest, None
        if shot is None and not self._is_film:
            raise TruncatedError(f"{self.name} sends no more frames; {self._remedy()}")
        return shot

    def close(self) -> None:
        self._closing = True
        if self._thread.ident is None:
            self._capture.release()
        else:
            self._thread.join(_PATIENCE)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, cv: Any, source: int | str | Path, size: tuple[int, int] | None, fps: float | None) -> Any:
        with silent(cv), _only_files():
            capture = cv.VideoCapture(source) if isinstance(source, int) else cv.VideoCapture(*_film(cv, source))
        if not capture.isOpened():
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
        if self._is_film:
            return "it is no video that OpenCV can read"
        return (
            "is it plugged in, and is no other program using it? --camera N selects another one, --camera FILE a video"
        )

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


def _film(cv: Any, path: str | Path) -> tuple[str, int]:
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
