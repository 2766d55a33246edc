"""A client of the live protocol (`docs/serve.md`), in Python."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

sync = pytest.importorskip("websockets.sync.client")
av = pytest.importorskip("av")

FRAME: Final = struct.Struct("<IBBBxHH4x")
ENCODERS: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9", "h264": "libx264"}
ANSWER: Final = struct.Struct("<IBBxxHHIIf")


@dataclass
class LiveAnswer:
    number: int
    dropped: bool
    alpha: Any
    foreground: Any
    milliseconds: float


class LiveClient:
    """One stream."""

    def __init__(self, port: int, *, headers: Any = None, first: Any = None, **hello: Any) -> None:
        """`first` is another first message than that of `hello`."""
        address = f"ws://127.0.0.1:{port}/api/live"
        self.opened = sync.connect(address, max_size=None, compression=None, additional_headers=headers)
        self.socket = self.opened.__enter__()
        self.codec = hello.get("codec", "i420")
        self.socket.send(first or json.dumps({"codec": self.codec, "alpha": "raw", **hello}))
        self.encoder: Any = None

    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.socket.recv(60))
        return found

    def send(self, number: int, pixels: Any, *, is_key: bool = True) -> None:
        height, width = pixels.shape[:2]
        self.socket.send(FRAME.pack(number, is_key, 0, 1, width, height) + self.encoded(pixels))

    def answer(self, seconds: float = 60) -> LiveAnswer:
        data = self.socket.recv(seconds)
        assert isinstance(data, bytes), data
        return read_answer(data)

    def encoded(self, pixels: Any) -> bytes:
        """A frame in the client's codec, with the full range of BT.601."""
        if self.codec == "jpeg":
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=95)
            return file.getvalue()
        frame = planes(pixels)
        if self.codec == "i420":
            return b"".join(
                bytes(np.frombuffer(each, np.uint8).reshape(-1, each.line_size)[: each.height, : each.width])
                for each in frame.planes
            )
        if self.encoder is None:
            self.encoder = av.CodecContext.create(ENCODERS[self.codec], "w")
            self.encoder.width, self.encoder.height, self.encoder.pix_fmt = frame.width, frame.height, "yuv420p"
            self.encoder.time_base = Fraction(1, 30)
            low = {"preset": "ultrafast", "tune": "zerolatency"} if self.codec == "h264" else {}
            self.encoder.options = low or {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8"}
        frame.pts = getattr(self, "sent", 0)
        self.sent = frame.pts + 1
        (packet,) = self.encoder.encode(frame)
        return bytes(packet)

    def close(self) -> None:
        self.opened.__exit__(None, None, None)

    def __enter__(self) -> LiveClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def planes(pixels: Any) -> Any:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="JPEG")


def read_answer(data: bytes) -> LiveAnswer:
    number, status, form, width, height, alpha_bytes, colour_bytes, milliseconds = ANSWER.unpack_from(data)
    alpha = data[ANSWER.size : ANSWER.size + alpha_bytes]
    colours = data[ANSWER.size + alpha_bytes :]
    assert len(colours) == colour_bytes
    return LiveAnswer(
        number,
        status == 1,
        None if status else _alpha(alpha, form, (height, width)),
        np.asarray(Image.open(io.BytesIO(colours))) if colours else None,
        milliseconds,
    )


def _alpha(data: bytes, form: int, shape: tuple[int, int]) -> Any:
    if form == 0:
        return np.frombuffer(data, np.uint8).reshape(shape)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == shape[::-1]
        return np.asarray(image)
