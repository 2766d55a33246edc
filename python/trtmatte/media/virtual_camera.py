"""A virtual camera: other programs see the frames that are sent to it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from trtmatte.errors import BackendError, SettingError


class VirtualCamera:
    def __init__(self, size: tuple[int, int], fps: float) -> None:
        try:
            pyvirtualcam = importlib.import_module("pyvirtualcam")
        except ImportError as error:
            raise SettingError(
                f"a virtual camera needs pyvirtualcam, which cannot be imported ({error}): pip install pyvirtualcam"
            ) from error
        try:
            self._camera: Any = pyvirtualcam.Camera(*size, fps, fmt=pyvirtualcam.PixelFormat.BGR)
        except RuntimeError as error:
            raise BackendError(
                f"no virtual camera can be opened: {' '.join(str(error).split())} On Linux: apt install "
                "v4l2loopback-dkms, then modprobe v4l2loopback exclusive_caps=1; elsewhere install OBS Studio and "
                "start its virtual camera once"
            ) from error
        self.name: str = self._camera.device

    def send(self, picture: np.ndarray[Any, Any]) -> None:
        """Send a frame: uint8, (H, W, 3) in BGR or (H, W, 1)."""
        height, width = picture.shape[:2]
        self._camera.send(np.ascontiguousarray(np.broadcast_to(picture, (height, width, 3))))

    def close(self) -> None:
        self._camera.close()
