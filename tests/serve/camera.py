"""A film as Y4M, which Chromium takes for a camera."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

av = pytest.importorskip("av")


def write_camera(path: Path, frames: Iterable[Any], rate: int = 30) -> None:
    """Write frames, uint8 RGB (H, W, 3) with even sides, for so many a second."""
    with path.open("wb") as file:
        for number, pixels in enumerate(frames):
            if not number:
                height, width = pixels.shape[:2]
                file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
            planes = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
