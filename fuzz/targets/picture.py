"""Pictures of strangers: PNG, JPEG, WebP, TIFF, GIF, AVIF and BMP files, with profiles, EXIF data and pages."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
import zlib
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from trtmatte.errors import TrtmatteError
from trtmatte.media import still
from trtmatte.support.limits import Limits

__all__ = ["attack", "mutate", "seeds"]

_LIMITS: Final = Limits(pixels=1 << 20, file_bytes=1 << 20)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ORIENTATION: Final = 0x0112
_PLACE: Final = Path(tempfile.gettempdir(), f"trtmatte-fuzz-{os.getpid()}.picture")


def seeds() -> list[bytes]:
    colours = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    picture, grey = Image.fromarray(colours), Image.fromarray(colours[..., 0])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without the time at which it was made
    exif = Image.Exif()
    exif[_ORIENTATION], exif[0x010F] = 6, "maker"
    about: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": profile}
    transparent = picture.copy()
    transparent.putalpha(grey)
    deep = Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    pages: dict[str, Any] = {"save_all": True, "append_images": [picture.rotate(180)]}
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((picture, kind, about) for kind in ("png", "jpeg", "webp", "tiff", "avif")),
        *((picture, kind, pages) for kind in ("png", "webp", "gif", "tiff")),
        *((transparent, kind, {}) for kind in ("png", "webp", "tiff")),
        *((deep, kind, {}) for kind in ("png", "tiff", "jpeg2000")),
        *((picture.convert("CMYK"), kind, {"icc_profile": profile}) for kind in ("jpeg", "tiff")),
        *((picture.convert("P"), kind, {"transparency": 3}) for kind in ("png", "gif")),
        *((picture.convert(mode), "png", {}) for mode in ("1", "L", "LA")),
        *((picture, "tiff", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
        *((picture, kind, {}) for kind in ("bmp", "jpeg2000", "ppm")),
        (picture, "jpeg", {"progressive": True, "subsampling": 2}),
    ]
    return [_saved(*each) for each in made if each[1].upper() in still.formats()]


def mutate(data: bytes, random: Random) -> bytes:
    """Damage a chunk of a PNG and mend its checksum; another byte in other formats."""
    if not data.startswith(_PNG):
        place = random.randrange(len(data))
        return data[:place] + random.randbytes(1) + data[place + 1 :]
    chunks, start = [], len(_PNG)
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    if chunks:
        chosen = random.randrange(len(chunks))
        chunks[chosen] = _changed(*chunks[chosen], random)
    return _PNG + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


def attack(data: bytes) -> bool:
    _PLACE.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = still.read(_PLACE, _LIMITS)
    except TrtmatteError:
        return False
    finally:
        _PLACE.unlink()
    assert read.pixels.dtype == np.uint8, read.pixels.dtype
    assert read.pixels.shape[2] == 3, read.pixels.shape
    assert read.pixels.size <= 3 * _LIMITS.pixels, read.pixels.shape
    try:
        still.write(read.pixels[:8, :8], _PLACE.with_suffix(".jpg"), profile=read.profile, exif=read.exif)
    finally:
        _PLACE.with_suffix(".jpg").unlink(missing_ok=True)
    return True


def _saved(picture: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _changed(kind: bytes, body: bytes, random: Random) -> tuple[bytes, bytes]:
    if random.random() < 0.1:
        kind = random.choice((b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"fcTL"))
    if random.random() < 0.1:
        return kind, random.choice((b"transparency", b"exif", b"icc_profile", b"XML:com.adobe.xmp")) + b"\0" + body
    if not body:
        return kind, random.randbytes(random.randrange(20))
    place = random.randrange(len(body))
    return kind, body[:place] + random.randbytes(random.randrange(4)) + body[place + 1 :]
