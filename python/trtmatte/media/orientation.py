"""The rotation of a video, from the display matrix of its frames."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, NamedTuple

from trtmatte.media.ffmpeg import ffmpeg, link


class Orientation(NamedTuple):
    """A rotation: exchange rows and columns, then mirror left and right, then mirror top and bottom."""

    transposed: bool = False
    across: bool = False
    down: bool = False

    @classmethod
    def of(cls, frame: Any) -> Orientation:
        """The rotation of a decoded frame. Angles that are not multiples of 90 degrees are ignored."""
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d = struct.unpack("=9i", bytes(data)[:36])[:5]  # x, y go to a x + c y, b x + d y
        if a and d and not (b or c):
            return cls(False, a < 0, d < 0)
        if b and c and not (a or d):
            return cls(True, c < 0, b < 0)
        return cls()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of the rotated picture."""
        return (height, width) if self.transposed else (width, height)


class Turn:
    """Rotate frames of packed RGB or BGR."""

    def __init__(self, orientation: Orientation, width: int, height: int, order: str = "rgb24") -> None:
        self._graph = graph = ffmpeg().filter.Graph()
        first = graph.add_buffer(width=width, height=height, format=order, time_base=Fraction(1, 1000))
        link(graph, first, *_filters(orientation), ("buffersink", None))

    def __call__(self, frame: Any) -> Any:
        self._graph.push(frame)
        return self._graph.pull()


def _filters(orientation: Orientation) -> list[tuple[str, str | None]]:
    if not orientation.transposed:
        return [(name, None) for name, wanted in zip(("hflip", "vflip"), orientation[1:], strict=True) if wanted]
    directions = {
        (False, False): "cclock_flip",
        (True, False): "clock",
        (False, True): "cclock",
        (True, True): "clock_flip",
    }
    return [("transpose", directions[orientation[1:]])]
