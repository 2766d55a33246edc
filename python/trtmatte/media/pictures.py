"""Pictures as frames: a single one, a folder, or the files of a pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from trtmatte.errors import InputError, TruncatedError
from trtmatte.media import colour, still
from trtmatte.media.source import RATE, Array, Facts, Frame
from trtmatte.support.limits import Limits
from trtmatte.support.options import option

__all__ = ["SUFFIXES", "PictureSource", "find", "is_picture", "natural", "read"]

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm")

_PATTERN: Final = re.compile(r"[*?\[]")


class PictureSource:
    """Pictures as a sequence of frames, all of one size."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        rate: Fraction | None = None,
        resize: tuple[int, int] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._paths, self._resize, self._limits = list(paths), resize, limits
        if not self._paths:
            raise InputError("there are no pictures; expected one at least")
        size = resize or self._common_size()
        rate = rate or RATE
        self.facts = Facts(
            name=str(self._paths[0]),
            size=size,
            rate=rate,
            time_base=1 / rate,
            colour=colour.usual(size),
            count=len(self._paths),
            is_still=len(self._paths) == 1,
        )

    def frames(self) -> Iterator[Frame]:
        for number, path in enumerate(self._paths):
            try:
                picture = read(path, self._resize, self._limits)
            except InputError as error:
                if not number:
                    raise
                raise TruncatedError(f"the pictures break off after {number}: {error}") from error
            yield Frame(picture, number, 1)

    def _common_size(self) -> tuple[int, int]:
        """Check that all pictures have one size. Only headers are read, before any frame is matted."""
        first = _size(self._paths[0], self._limits)
        for path in self._paths[1:]:
            if (size := _size(path, self._limits)) != first:
                raise InputError(
                    f"{path} is {size[0]}x{size[1]} and {self._paths[0]} is {first[0]}x{first[1]}; expected pictures "
                    f"of one size: give {option('input_resize')} to bring them to one, or convert them each with "
                    "trtmatte image"
                )
        return first


def find(place: str | Path) -> list[Path] | None:
    """The files of a folder, a pattern or a picture, in natural order (9 before 10); None if it is none of these."""
    path = Path(place)
    if os.path.isdir(path):
        try:
            found = [each for each in path.iterdir() if is_picture(each)]
        except OSError as error:
            raise InputError(f"the folder {path} cannot be read: {error.strerror}") from error
        if not found:
            raise InputError(f"the folder {path} has no pictures; expected files like {', '.join(SUFFIXES[:4])}")
    elif os.path.exists(path):
        found = [path] if is_picture(path) else []
    elif _PATTERN.search(str(place)):
        found = [each for each in map(Path, glob.glob(str(place))) if is_picture(each)]
        if not found:
            raise InputError(f"nothing fits {place}; expected pictures like {', '.join(SUFFIXES[:4])}")
    else:
        found = []
    return sorted(found, key=natural) or None


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not os.path.isdir(path)


def read(path: Path, resize: tuple[int, int] | None = None, limits: Limits | None = None) -> Array:
    """Read a picture as uint8 RGB (H, W, 3), rotated by its EXIF orientation."""
    pixels = still.read(path, limits).pixels
    if resize is None or pixels.shape[1::-1] == resize:
        return pixels
    image = still.pillow("Image")
    return np.asarray(image.fromarray(pixels).resize(resize, image.Resampling.BICUBIC))


def _size(path: Path, limits: Limits | None) -> tuple[int, int]:
    """The size of a picture after its EXIF orientation is applied."""
    with still.opened(path, limits) as opened:
        width, height = opened.size
        known = opened.format != "PNG" or "exif" in opened.info  # a PNG would be read as a whole
        turn = still.orientation(opened)[0] if known else None
    return (height, width) if turn in still.LYING else (width, height)


def natural(path: Path) -> list[tuple[bool, int, str]]:
    """A sort key for natural order: digits are compared as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
