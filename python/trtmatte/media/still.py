"""A picture in a file: its pixels, colour profile and EXIF data."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.errors import EngineError, InputError, OutputError, SettingError
from trtmatte.support.files import replacing

Array = np.ndarray[Any, Any]

FORMATS: Final = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
"""The format of a file by its suffix."""

_MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
_DEEP: Final = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_COLOUR_SPACE: Final = slice(16, 20)  # of an ICC profile's header


@dataclass(frozen=True)
class Still:
    pixels: Array  # uint8 RGB (H, W, 3), upright
    profile: bytes = b""  # ICC, of these pixels
    exif: bytes = b""  # without the orientation, which is applied

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


def read(path: Path) -> Still:
    """Read the first page of a picture as 8-bit RGB: transparency over white, CMYK converted to sRGB."""
    image, operations = pillow("Image"), pillow("ImageOps")
    try:
        with image.open(path) as opened:
            upright = operations.exif_transpose(opened)
            profile = opened.info.get("icc_profile") or b""
            pixels = np.asarray(_rgb(upright, profile))
            exif = upright.getexif()
    except failures() as error:
        raise unreadable(path, error) from error
    kept = profile if profile[_COLOUR_SPACE] == b"RGB " else b""
    return Still(pixels, kept, exif.tobytes() if len(exif) else b"")


def write(pixels: Array, path: Path, *, quality: int = 95, profile: bytes = b"", exif: bytes = b"") -> None:
    """Write uint8 pixels (H, W, 1, 3 or 4) in the format of the suffix. The file is renamed when it is complete.

    `quality` is for JPEG and WebP; 100 makes WebP lossless.
    """
    kind = FORMATS[path.suffix.lower()]
    channels = pixels.shape[2]
    image = pillow("Image").fromarray(
        np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels), _MODES[channels]
    )
    options = {"icc_profile": profile or None, **({"exif": exif} if exif else {}), **_options(kind, quality)}
    encoded = io.BytesIO()
    try:
        image.save(encoded, kind, **options)
        with replacing(path) as file:
            file.write(encoded.getbuffer())
    except EngineError as error:
        raise OutputError(str(error)) from error
    except (OSError, ValueError) as error:  # such as WebP's 16,383 pixels
        raise OutputError(f"{path} cannot be written: {error}") from error


def failures() -> tuple[type[Exception], ...]:
    """The errors that Pillow raises for a file that it cannot read."""
    return OSError, ValueError, SyntaxError, pillow("Image").DecompressionBombError


def unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, pillow("Image").UnidentifiedImageError):
        why = f"it is no picture that Pillow knows; expected a file like {', '.join(FORMATS)}"
    else:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
    return InputError(f"{path} cannot be read: {why}")


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
    except (SettingError, OSError, cms.PyCMSError):
        return picture.convert("RGB")


def _options(kind: str, quality: int) -> dict[str, Any]:
    if kind == "png":
        return {"compress_level": 4}
    if kind == "webp":
        return {"quality": 20, "method": 2, "lossless": True, "exact": True} if quality == 100 else {"quality": quality}
    return {"quality": quality, "subsampling": 0}
