"""Pictures of strangers: any file ends in a picture or in an InputError, and starts no other program."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtmatte.errors import InputError
from trtmatte.media import pictures, still
from trtmatte.support.limits import Limits

Image = pytest.importorskip("PIL.Image")

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>'
PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*between: bytes, size: tuple[int, int] = (13, 9), depth: int = 8) -> bytes:
    """A PNG with chunks between its header and its pixels, which are those of a smaller one."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, 2, 0, 0, 0))
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in COLOURS))
    return PNG + header + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".eps", ""])
@pytest.mark.parametrize("data", [POSTSCRIPT, SVG], ids=["PostScript", "SVG"])
def test_no_other_program_is_started(data: bytes, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def refuse(*command: Any, **_: Any) -> None:
        raise AssertionError(f"{command} is started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, refuse)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    for read in (still.read, lambda path: pictures.PictureSource([path])):
        with pytest.raises(InputError, match=r"it is no picture, or of a format that is not read; expected PNG, JPEG"):
            read(path)


@pytest.mark.parametrize("kind", ["ICO", "PCX", "TGA", "PSD", "SGI", "FITS", "EPS", "XBM", "MSP"])
def test_formats_that_nobody_needs(kind: str, tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS[..., 0]).convert("1" if kind in ("XBM", "MSP") else "L")
    if kind in ("PSD", "FITS"):  # which Pillow does not write
        (tmp_path / "a.png").write_bytes(
            {"PSD": b"8BPS\0\1", "FITS": b"SIMPLE  =                    T"}[kind].ljust(100)
        )
    else:
        image.save(tmp_path / "a.png", kind)
    with pytest.raises(InputError, match="it is no picture, or of a format that is not read"):
        still.read(tmp_path / "a.png")


def test_every_format_that_is_named_is_read(tmp_path: Path) -> None:
    for kind in still.formats():
        Image.fromarray(COLOURS).save(tmp_path / "a.bin", kind)
        assert still.read(tmp_path / "a.bin").size == (13, 9), kind
    assert {"PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"} <= set(still.formats())


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name, kind in (("pipe.png", "a pipe"), ("zero.png", "a device"), ("folder.png", "a folder")):
        with pytest.raises(InputError, match=f"{name} cannot be read: it is {kind}; expected a file"):
            still.read(tmp_path / name)
    with pytest.raises(InputError, match="it is a pipe"):
        pictures.PictureSource([tmp_path / "pipe.png"])


@pytest.mark.parametrize(
    "error", [RuntimeError("why"), KeyError("why"), struct.error("why"), MemoryError(), IndexError()]
)
def test_a_decoder_that_raises(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libraries raise for damaged files has no common base."""
    from PIL import PngImagePlugin

    def fail(*_: Any) -> None:
        raise error

    (tmp_path / "a.png").write_bytes(png())
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", fail)
    with pytest.raises(InputError, match=r"a.png cannot be read: \S+"):
        still.read(tmp_path / "a.png")


def test_damaged_files_of_every_format(tmp_path: Path) -> None:
    """Cut off anywhere, or with a part of zeros: a picture or an InputError."""
    refused = 0
    for kind in still.formats():
        file = io.BytesIO()
        Image.fromarray(COLOURS).resize((64, 48)).save(file, kind)
        data = file.getvalue()
        for place in range(0, len(data), max(1, len(data) // 40)):
            for damaged in (data[:place], data[:place] + bytes(16) + data[place + 16 :]):
                (tmp_path / "a.bin").write_bytes(damaged)
                try:
                    still.read(tmp_path / "a.bin")
                except InputError:
                    refused += 1
    assert refused > 200


def test_bombs(tmp_path: Path) -> None:
    """A header that promises more than there may be is refused before anything is decoded."""
    path = tmp_path / "a.png"
    path.write_bytes(png(size=(60_000, 60_000)))
    with pytest.raises(InputError, match="exceeds limit"):
        still.read(path)
    path.write_bytes(png(size=(4000, 3000)))
    for read in (still.read, pictures._size):
        with pytest.raises(InputError, match="it is 4000x3000; expected 1000000 pixels at most"):
            read(path, Limits(pixels=1_000_000))
    with pytest.raises(InputError, match=r"has \d+ bytes; expected 100 at most"):
        still.read(path, Limits(file_bytes=100))
    path.write_bytes(png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))))
    with pytest.raises(InputError, match="cannot be read"):
        still.read(path)


@pytest.mark.parametrize("name", [b"icc_profile", b"exif", b"transparency", b"dpi", b"XML:com.adobe.xmp"])
def test_texts_that_are_named_like_what_pillow_keeps(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(chunk(b"tEXt", name + b"\0RGB value")))
    try:
        read = still.read(tmp_path / "a.png")
    except InputError:
        return
    assert isinstance(read.profile, bytes)
    still.write(read.pixels, tmp_path / "b.jpg", profile=read.profile, exif=read.exif)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"MM\0*\0\0\0\x08\xff\xff",
        b"II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\xff\0",
    ],
)
def test_damaged_exif_data_are_left_out(exif: bytes, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(chunk(b"eXIf", exif)))
    read = still.read(tmp_path / "a.png")
    np.testing.assert_array_equal(read.pixels, COLOURS)
    still.write(read.pixels, tmp_path / f"b{suffix}", exif=read.exif)


def test_data_that_no_jpeg_can_hold_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are a stranger's, and the pictures after this one are written as well."""
    exif = Image.Exif()
    exif[0x010F] = "x" * 70_000
    still.write(COLOURS, tmp_path / "a.jpg", exif=exif.tobytes())
    assert still.read(tmp_path / "a.jpg").exif == b""
    assert "a.jpg is written without colour profile and EXIF data" in caplog.text
