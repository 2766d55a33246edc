"""Matte the newest frame of a camera, show it in a window and send it to a virtual camera."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from trtmatte.api import Engine, Session
from trtmatte.errors import SettingError
from trtmatte.format.stages import PLATE
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.camera import Camera, CameraFrame
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

Array = np.ndarray[Any, Any]

VIEWS: Final = {"composite": "composite", "foreground": "fgr", "alpha": "pha", "camera": ""}
"""The views, each with the session's output that it shows. The camera's view has none."""

_GUIDE: Final = "Step out of the picture, then press B: the picture becomes the plate"
_KEPT: Final = 10_000  # latencies
_SMOOTHING: Final = 0.1


class Screen(Protocol):
    def show(self, picture: Array, text: str = "") -> str:
        """Show a frame. Returns the key that was pressed since the last call, or an empty string."""


class Sink(Protocol):
    def send(self, picture: Array) -> None: ...


@dataclass(frozen=True)
class Summary:
    """The result of a run. Latencies are milliseconds from the arrival of a frame until its matte is shown and sent."""

    frames: int
    dropped: int
    fps: float
    p50: float
    p95: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.fps:.1f} fps; latency {self.p50:.0f} ms (p50), {self.p95:.0f} ms (p95); "
            f"{self.dropped} frames of the camera were dropped"
        )


class Live:
    """Matte a camera. Keys: `b` takes or drops the plate, `r` resets the states, `o` shows the next output, `q` quits.

    All pictures are BGR, like those of cameras and windows. The virtual camera gets no frames before the first matte.
    """

    def __init__(
        self,
        engine: Engine,
        camera: Camera,
        *,
        window: Screen | None = None,
        virtual_camera: Sink | None = None,
        view: str = "composite",
        plate: Array | None = None,
        background: Any = "greenscreen",  # as users type it: a colour, blur, the path of a picture or a video
        mirror: bool = False,
        overlay: bool = True,
        safe: bool | Limits = False,
        **session: Any,
    ) -> None:
        limits = Limits.of(safe)
        session |= {"safe": limits} if limits else {}
        self._engine, self._camera, self._window, self._virtual_camera = engine, camera, window, virtual_camera
        self._view, self._plate, self._background = view, plate, FrameBackground(background, limits=limits)
        self._mirror, self._overlay, self._arguments = mirror, overlay, session
        self._needs_plate = PLATE in engine.program.pictures
        if self._needs_plate and plate is None and window is None:
            raise SettingError(
                f"{engine.program.family} needs the plate, the photographed empty scene; the key b takes it in the "
                f"window: leave {option('window', None)} out, or give the picture: {option('plate')}"
            )
        self._sessions: dict[str, Session] = {}
        self._session = self._session_of(view)
        self._latencies: deque[float] = deque(maxlen=_KEPT)
        self._frames, self._fps, self._began, self._last = 0, 0.0, 0.0, 0.0

    def run(self, frames: int | None = None) -> bool:
        """Matte until the video ends, this many frames are done, or `q` is pressed. Returns True if the video ended."""
        ended = False
        while not ended and (frames is None or self._frames < frames):
            shot = self._camera.newest()
            if shot is None:
                return True
            picture = shot.picture[:, ::-1] if self._mirror else shot.picture
            ended = self._matted(picture, shot) if self._is_ready else self._guided(picture)
        return False

    @property
    def summary(self) -> Summary:
        p50, p95 = (float(each) * 1000 for each in np.percentile(self._latencies or [0.0], (50, 95)))
        seconds = self._last - self._began
        return Summary(self._frames, self._camera.dropped, self._frames / seconds if seconds else 0.0, p50, p95)

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    @property
    def _is_ready(self) -> bool:
        return not self._needs_plate or self._plate is not None

    def _guided(self, picture: Array) -> bool:
        return self._window is not None and self._obeyed(self._window.show(picture, _GUIDE), picture)

    def _matted(self, picture: Array, frame: CameraFrame) -> bool:
        """Show and send one frame. Returns True if it was the last."""
        began = time.perf_counter()
        self._began = self._began or began
        result = self._result(picture)
        if self._virtual_camera is not None:
            self._virtual_camera.send(result)
        key = self._window.show(result, self._text()) if self._window is not None else ""
        self._count(frame)
        return self._obeyed(key, picture)

    def _result(self, picture: Array) -> Array:
        if self._view == "camera":
            return picture
        matte = self._session(picture, self._plate, background=self._next_background())
        result: Array = matte[0]
        return result

    def _next_background(self) -> Any:
        if not self._background.is_film or self._session.outputs != ("composite",):
            return None
        return _bgr(self._background.behind(self._camera.size))

    def _count(self, frame: CameraFrame) -> None:
        now = time.perf_counter()
        self._latencies.append(now - frame.time)
        if self._frames:
            rate = 1 / max(now - self._last, 1e-6)
            self._fps = rate if self._frames == 1 else self._fps + _SMOOTHING * (rate - self._fps)
        self._frames += 1
        self._last = now

    def _text(self) -> str:
        if not self._overlay or not self._latencies:
            return ""
        return f"{self._fps:.0f} fps, {self._latencies[-1] * 1000:.0f} ms, {self._view}"

    def _obeyed(self, key: str, picture: Array) -> bool:
        if key == "b" and self._needs_plate:
            self._plate = picture.copy() if self._plate is None else None
            self._session.reset()
        elif key == "r":
            self._session.reset()
        elif key == "o":
            self._show_next()
        return key == "q"

    def _show_next(self) -> None:
        """Show the next output, made by a session of its own that continues with the states of the last one."""
        views = list(VIEWS)
        self._view = views[(views.index(self._view) + 1) % len(views)]
        before, self._session = self._session, self._session_of(self._view)
        if before is not self._session:
            self._session.state = before.state

    def _session_of(self, view: str) -> Session:
        output = VIEWS[view] or "composite"
        if output not in self._sessions:
            background = _bgr(self._background.once(self._camera.size)) if output == "composite" else None
            session = self._engine.session(outputs=(output,), color="bgr", background=background, **self._arguments)
            self._sessions[output] = session
            self._warm_up(session)
        return self._sessions[output]

    def _warm_up(self, session: Session) -> None:
        """Run one frame before the camera starts, since the first frame takes long."""
        width, height = self._camera.size
        blank = np.zeros((height, width, 3), np.uint8)
        behind = blank if self._background.is_film and session.outputs == ("composite",) else None
        session(blank, blank if self._needs_plate else None, background=behind)
        session.reset()


def _bgr(background: Any) -> Any:
    """Reverse the channels of a picture for OpenCV. Colours stay as they are: they are always red, green, blue."""
    return background[..., ::-1] if isinstance(background, np.ndarray) else background
