"""Raw frames in pipes: packed bytes, without headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media import colour, pipes
from trtmatte.media.ffmpeg import reason
from trtmatte.media.source import RATE, Array, Facts, Frame, rate_of, size_of
from trtmatte.support.options import option
from trtmatte.support.stoppable import StoppableInput

__all__ = ["Raw", "RawSink", "RawSource"]


class Raw(NamedTuple):
    """The size and the frame rate of raw frames."""

    width: int
    height: int
    rate: Fraction

    @classmethod
    def of(cls, text: str) -> Raw:
        found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})(?:@(\S+))?", text.strip())
        rate = None if found is None else rate_of(found[3] or str(RATE))
        if found is None or rate is None:
            raise SettingError(
                f"{option('raw')} is {text!r}; expected WIDTHxHEIGHT@FPS, like 1280x720@30 or 1280x720@24000/1001"
            )
        return cls(*size_of("raw", (int(found[1]), int(found[2]))), rate)


class RawSource:
    """Read 8-bit RGB frames from a pipe."""

    def __init__(self, raw: Raw, pipe: BinaryIO | None = None) -> None:
        self._raw = raw
        self._input = StoppableInput(pipe or pipes.standard_input())
        size = (raw.width, raw.height)
        self.facts = Facts("standard input", size, raw.rate, 1 / raw.rate, colour.usual(size))

    def stop(self) -> None:
        """End the frames, even if the pipe is silent. An incomplete one is dropped."""
        self._input.stop()

    def frames(self) -> Iterator[Frame]:
        shape = (self._raw.height, self._raw.width, 3)
        number = 0
        while True:
            picture = np.empty(shape, np.uint8)
            got = self._fill(picture.data.cast("B"))
            if got < picture.nbytes:
                break
            yield Frame(picture, number, 1)
            number += 1
        if self._input.is_stopped:
            return
        if got:
            raise TruncatedError(
                f"standard input breaks off after frame {number}: {got} bytes are left, and a frame of "
                f"{self._raw.width}x{self._raw.height} has {picture.nbytes}"
            )
        if not number:
            raise InputError("standard input has no frame; expected packed RGB, 8 bits a channel")

    def _fill(self, buffer: memoryview) -> int:
        got = 0
        try:
            while got < len(buffer) and (count := self._input.readinto(buffer[got:])):
                got += count
        except (OSError, ValueError) as error:
            raise InputError(f"standard input cannot be read: {reason(error)}") from error
        return got


class RawSink:
    """Write frames to standard output: RGB, RGBA or grey."""

    place = "-"

    def __init__(self, pipe: BinaryIO | None = None) -> None:
        self._pipe: Any = pipe or pipes.standard_output()

    def write(self, picture: Array, pts: int, duration: int) -> None:
        with pipes.told():
            self._pipe.write(np.ascontiguousarray(picture).data)

    def close(self, *, whole: bool = True) -> None:
        with pipes.told():
            self._pipe.flush()

    def abort(self) -> None:
        """Do nothing: bytes in the pipe cannot be taken back."""
