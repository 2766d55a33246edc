"""Interlaced frames: the order of their fields, read from a decoded frame and written on the frames to encode."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from trtmatte.media.ffmpeg import ffmpeg, link

__all__ = ["FieldMarker", "field_order", "mark_encoder"]

_ORDERS: Final = {"tff": "TOPFIRST", "bff": "BOTTOMFIRST"}
_TIMES: Final = Fraction(1, 1000)
_CODES: Final = {"tff": 2, "bff": 3}  # AVFieldOrder: the fields are shown in the order in which they are stored


def field_order(frame: Any) -> str:
    """Return `tff` or `bff` for an interlaced frame, whose top or bottom field is first; otherwise an empty text."""
    if not frame.interlaced_frame:
        return ""
    return next((order for order, name in _ORDERS.items() if _passes(frame, name)), "")


def _passes(frame: Any, name: str) -> bool:
    """Report if a filter of FFmpeg lets this frame through: PyAV itself does not tell the order."""
    graph = _graph(frame, "select", f"eq(interlace_type,{name})")
    graph.push(frame)
    try:
        graph.pull()
    except (ffmpeg().error.BlockingIOError, ffmpeg().error.EOFError):
        return False
    return True


def mark_encoder(context: Any, order: str) -> None:
    """Let an encoder write interlaced frames."""
    flags = ffmpeg().codec.context.Flags
    context.flags |= flags.interlaced_dct | flags.interlaced_me
    if hasattr(context, "field_order"):  # PyAV before 18 tells only the frames
        context.field_order = _CODES[order]


class FieldMarker:
    """Mark frames, all of one form, as interlaced."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._filters: Any = None

    def __call__(self, frame: Any) -> Any:
        if self._filters is None:
            self._filters = _graph(frame, "setfield", self._order)
        self._filters.push(frame)
        return self._filters.pull()


def _graph(frame: Any, name: str, arguments: str) -> Any:
    graph = ffmpeg().filter.Graph()
    first = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=_TIMES)
    link(graph, first, (name, arguments), ("buffersink", None))
    return graph
