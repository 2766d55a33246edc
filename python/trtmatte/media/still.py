"""A picture in a file, or in the bytes of one: its pixels, colour profile and EXIF data."""

from __future__ import annotations

import functools
import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.errors import EngineError, InputError, OutputError, SettingError, TrtmatteError
from trtmatte.media.formats import CONTAINERS
from trtmatte.media.places import require_file
from trtmatte.support.files import replacing
from trtmatte.support.limits import Limits

Array = np.ndarray[Any, Any]

_LOG: Final = logging.getLogger("trtmatte")

FORMATS: Final = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
"""The format of a file that is written, by its suffix."""

READ: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""Pillow's names of the formats that are read. Others are not tried: Pillow gives PostScript to another program."""

_ALSO: Final = "MPO"  # a JPEG file of a telephone, with more than one picture: Pillow opens it as JPEG
_MOVING: Final = ("GIF", "WEBP", "PNG", "AVIF", "TIFF")  # formats that hold frames or pages of one rank
_OTHERS: Final = {
    re.compile(rb"....ftyp(?:hei[cxms]|hev[cx])", re.DOTALL): "HEIC",
    re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "): "JPEG XL",
    re.compile(rb"....ftypavi[fs]", re.DOTALL): "AVIF",
}
"""The formats of photographs that are not read, or not by every Pillow, and how their files begin."""

_BEGINNING: Final = 16  # bytes of a file that tell these

_MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP: Final = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_RUNS: Final = 3
"""zlib's strategy that looks for runs alone, Z_RLE: for the filtered lines of photographs and of mattes, files are as
small as with level 4, and encoding takes half the time."""

LYING: Final = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
"""The turns that swap width and height."""

_COLOUR_SPACE: Final = slice(16, 20)  # of an ICC profile's header


@dataclass(frozen=True)
class Still:
    pixels: Array  # uint8 RGB (H, W, 3), upright
    profile: bytes = b""  # ICC, of these pixels
    exif: bytes = b""  # without the orientation, which is applied

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Encoded:
    """The bytes of a picture's file, which is on no disk, and its name in messages."""

    data: bytes
    name: str = "the picture"

    def require(self, limits: Limits | None) -> None:
        """Raise an InputError if there are no bytes, or more than the limits allow."""
        if not self.data:
            raise InputError(f"{self} cannot be read: it is empty; expected the bytes of a picture")
        if limits is not None and len(self.data) > limits.file_bytes:
            raise InputError(f"{self} has {len(self.data)} bytes; expected {limits.file_bytes} at most")

    def __str__(self) -> str:
        return self.name


def read(source: Path | Encoded, limits: Limits | None = None) -> Still:
    """Read the first page of a picture as 8-bit RGB: transparency over white, CMYK converted to sRGB."""
    with opened(source, limits) as picture:
        found = of_image(picture)
        if picture.format in _MOVING and getattr(picture, "is_animated", False):
            what = "pages" if picture.format == "TIFF" else "frames"
            _LOG.warning("%s has %d %s; the first one is used", source, picture.n_frames, what)
        return found


def of_image(picture: Any) -> Still:
    """Return the picture that an image of Pillow shows, as `read` does. Decoders raise errors of many kinds."""
    picture.load()
    turn, exif = orientation(picture)
    upright = picture if turn is None else picture.transpose(pillow("Image").Transpose[turn])
    profile = picture.info.get("icc_profile") or b""
    pixels = np.asarray(_rgb(upright, profile))
    return Still(pixels, profile if profile[_COLOUR_SPACE] == b"RGB " else b"", exif)


@contextmanager
def opened(source: Path | Encoded, limits: Limits | None = None) -> Iterator[Any]:
    """Open a picture: its header is read. Raises an InputError for any error while the picture is open."""
    if isinstance(source, Encoded):
        source.require(limits)
    else:
        require_file(source, limits)
    try:
        file = io.BytesIO(source.data) if isinstance(source, Encoded) else source
        with pillow("Image").open(file, formats=formats()) as picture:
            require_within(picture, limits)
            yield picture
    except TrtmatteError:
        raise
    except Exception as error:  # decoders raise errors of many kinds for damaged files
        raise unreadable(source, error) from error


def require_within(picture: Any, limits: Limits | None) -> None:
    """Raise a ValueError if an image of Pillow, which is not decoded yet, is not within the limits."""
    if limits is None:
        return
    if picture.width * picture.height > limits.pixels:
        raise ValueError(f"it is {picture.width}x{picture.height}; expected {limits.pixels} pixels at most")
    if getattr(picture, "format", None) not in (None, _ALSO, *READ):
        raise ValueError(f"its format is {picture.format}; expected {', '.join(READ)}")


def write(pixels: Array, path: Path, *, quality: int = 95, profile: bytes = b"", exif: bytes = b"") -> None:
    """Write uint8 pixels (H, W, 1, 3 or 4) in the format of the suffix. The file is renamed when it is complete.

    `quality` is for JPEG and WebP; 100 makes WebP lossless.
    """
    kind = FORMATS[path.suffix.lower()]
    data = encoded(pixels, kind, name=path, quality=quality, profile=profile, exif=exif)
    try:
        with replacing(path) as file:
            file.write(data)
    except EngineError as error:
        raise OutputError(str(error)) from error


def encoded(
    pixels: Array,
    kind: str,
    *,
    name: object = "the picture",
    quality: int = 95,
    profile: bytes = b"",
    exif: bytes = b"",
) -> bytes:
    """Return the bytes of a file of this format, one of those in `FORMATS`. Messages use the name."""
    image = image_of(pixels)
    about = {"icc_profile": profile or None, **({"exif": exif} if exif else {})}
    file = io.BytesIO()
    try:
        try:
            image.save(file, kind, **about, **_options(kind, quality))
        except Exception as error:  # the profile or the EXIF data of a stranger's picture: too long, or damaged
            if not profile and not exif:
                raise
            _LOG.warning("%s is written without colour profile and EXIF data: %s", name, error)
            file = io.BytesIO()
            image.save(file, kind, **_options(kind, quality))
    except Exception as error:  # such as WebP's 16,383 pixels
        raise OutputError(f"{name} cannot be written: {error}") from error
    return file.getvalue()


def image_of(pixels: Array) -> Any:
    """Return uint8 pixels (H, W, 1, 3 or 4) as an image of Pillow."""
    channels = pixels.shape[2]
    plain = np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels)
    return pillow("Image").fromarray(plain, _MODES[channels])


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow from printing warnings about files. For whole runs, since their filters are those of the process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def unreadable(source: object, error: Exception) -> InputError:
    """Return the error for a picture that a decoder does not read."""
    if isinstance(error, pillow("Image").UnidentifiedImageError):
        other = _other_format(source)
        what = f"{other}, which is not read here" if other else "no picture, or of a format that is not read"
        why = f"it is {what}; expected {', '.join(formats())}"
        if Path(str(source)).suffix.lower() in CONTAINERS:
            why += "; videos are read by `trtmatte video` and trtmatte.convert_video"
    else:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return InputError(f"{source} cannot be read: {why}")


def _other_format(source: object) -> str | None:
    """Return the name of the format if it is one of `_OTHERS`."""
    try:
        if isinstance(source, Encoded):
            beginning = source.data[:_BEGINNING]
        else:
            with open(str(source), "rb") as file:
                beginning = file.read(_BEGINNING)
    except (OSError, ValueError):  # a name that a caller has chosen
        return None
    return next((name for pattern, name in _OTHERS.items() if pattern.match(beginning)), None)


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that are read and that this Pillow has."""
    image = pillow("Image")
    image.init()
    return tuple(name for name in READ if name in image.OPEN)


def orientation(picture: Any) -> tuple[str | None, bytes]:
    """Return Pillow's name of the turn that makes a picture upright, and the EXIF data without it.

    Damaged EXIF data are left out: they are no reason to refuse the picture.
    """
    turn = None
    try:
        exif = picture.getexif()
        turn = _TURNS.get(exif.get(_ORIENTATION, 1))
        if not len(exif) or getattr(picture, "format", None) == "TIFF":  # whose tags are those of its own structure
            return turn, b""
        copy = pillow("Image").Exif()  # the image, which may be the caller's, keeps its own
        copy.load(exif.tobytes())
        copy.pop(_ORIENTATION, None)
        return turn, bytes(copy.tobytes()) if len(copy) else b""
    except Exception:
        return turn, b""


def pillow(module: str) -> Any:
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise SettingError("reading and writing pictures needs Pillow: pip install pillow") from error


def _rgb(picture: Any, profile: bytes) -> Any:
    if picture.mode in _DEEP:
        return pillow("Image").fromarray(_eight_bits(np.asarray(picture)), "L").convert("RGB")
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; expected 8 or 16 bits, as PNG, JPEG and WebP have")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = pillow("Image").new("RGBA", seen.size, "white")
        return pillow("Image").alpha_composite(white, seen).convert("RGB")
    if picture.mode == "CMYK" and profile:
        return _from_ink(picture, profile)
    return picture.convert("RGB")


def _eight_bits(values: Array) -> Array:
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels have 32 bits; expected 8 or 16, as PNG, JPEG and WebP have")
    return np.rint(values / 257.0).astype(np.uint8)


def _from_ink(picture: Any, profile: bytes) -> Any:
    """Convert CMYK to RGB by the profile of the picture if Pillow can: a plain inversion gives wrong colours."""
    try:
        cms = pillow("ImageCms")
        return cms.profileToProfile(picture, io.BytesIO(profile), cms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # there is no such module, or the profile is damaged
        return picture.convert("RGB")


def _options(kind: str, quality: int) -> dict[str, Any]:
    if kind == "png":
        return {"compress_level": 1, "compress_type": _RUNS}
    if kind == "webp":
        return {"quality": 20, "method": 2, "lossless": True, "exact": True} if quality == 100 else {"quality": quality}
    return {"quality": quality, "subsampling": 0}
