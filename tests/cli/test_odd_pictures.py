"""Pictures that are odd or damaged: right, as Pillow shows them, or one clear line, and never half a file."""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import trtmatte
from tests import real_models as models
from tests.runtime.session import engines
from trtmatte.cli.main import main
from trtmatte.media import still

WIDTH, HEIGHT = 40, 28


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Something that is neither symmetric nor grey."""
    y, x = np.mgrid[:height, :width].astype(float)
    red, green, blue = 255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 128 + 100 * np.sin(x / 3 + y)
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8))


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file_of(scene(), "jpeg", exif=exif, quality=95)


def moving(kind: str) -> bytes:
    more = [scene().rotate(90), scene().rotate(180)]
    return file_of(scene(), kind, save_all=True, append_images=more)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], depth: int, colours: int, lines: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(channels: int) -> bytes:
    """A PNG of 16 bits, which Pillow cannot write with colours."""
    values = np.asarray(scene()).astype(">u2")[..., [0, 1, 2, 0][:channels]] * 257
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    return png((WIDTH, HEIGHT), 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], lines)


def shown(data: bytes) -> np.ndarray:
    """The picture as Pillow shows it: upright, over white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":
        return np.repeat(np.rint(np.asarray(image) / 257).astype(np.uint8)[..., np.newaxis], 3, 2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


GREYS = Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 50)
PALETTE = scene().convert("P")
RIGHT = {
    "1x1": file_of(scene(1, 1), "png"),
    "2x3": file_of(scene(2, 3), "png"),
    "very wide": file_of(scene(2500, 3), "png"),
    "very high": file_of(scene(3, 2500), "png"),
    "a line": file_of(scene(2500, 1), "png"),
    "grey": file_of(scene().convert("L"), "png"),
    "grey and alpha": file_of(scene().convert("LA"), "png"),
    "palette": file_of(PALETTE, "png"),
    "palette, one colour transparent": file_of(PALETTE, "png", transparency=3),
    "palette with alpha": file_of(PALETTE, "png", transparency=bytes(range(256))),
    "one colour transparent": file_of(scene(), "png", transparency=(0, 0, 128)),
    "CMYK": file_of(scene().convert("CMYK"), "jpeg"),
    "YCbCr": file_of(scene().convert("YCbCr"), "tiff"),
    "LAB": file_of(scene().convert("LAB"), "tiff"),
    "one bit": file_of(scene().convert("1"), "png"),
    "one bit, TIFF": file_of(scene().convert("1"), "tiff"),
    "16 bits of grey, TIFF": file_of(
        Image.fromarray(np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(28, 40)), "tiff"
    ),
    **{f"16 bits, {channels} channels": deep(channels) for channels in (1, 2, 3, 4)},
    **{f"EXIF {number}": turned(number) for number in range(1, 9)},
    **{f"moving {kind}": moving(kind) for kind in ("gif", "webp", "png", "tiff", "MPO")},
}
JPEG, PNG = file_of(scene(300, 200), "jpeg"), file_of(scene(300, 200), "png")
REFUSED = {
    "empty": (b"", "it is empty|0 bytes|no picture"),
    "zeros": (bytes(1000), "no picture, or of a format that is not read"),
    "a page": (b"<!doctype html><html>404</html>", "no picture"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "runcated"),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated"),
    "a header": (PNG[:40], "runcated|no picture"),
    "32-bit numbers": (file_of(Image.fromarray(np.zeros((28, 40), np.float32)), "tiff"), "floating-point numbers"),
    "32-bit whole numbers": (file_of(Image.fromarray(np.full((28, 40), 1 << 20, np.int32)), "tiff"), "32 bits"),
    "60,000 x 60,000": (png((60_000, 60_000), 8, 2, bytes(100)), "3600000000 pixels.* exceeds limit"),
    "the largest header": (png((2**31 - 1, 2**31 - 1), 8, 2, bytes(100)), "exceeds limit"),
    "pixels that are missing": (png((5000, 5000), 8, 2, bytes(100)), "truncated"),
    "no width": (png((0, 10), 8, 2, bytes(100)), "no picture"),
    "HEIC": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        "it is HEIC, which is not read here; expected PNG",
    ),
    "JPEG XL": (b"\xff\x0a" + bytes(100), "it is JPEG XL, which is not read here"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "it is JPEG XL, which is not read here"),
}


@pytest.fixture(params=engines.BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return engines.require(request.param)


def image(*words: object, model: tuple[str, str] = ("--engine", "tiny.trtm")) -> int:
    return main(["image", *map(str, words), *model, "--quiet", "-y"])


def expected(picture: np.ndarray, backend: str, output: Any = "alpha") -> np.ndarray:
    return trtmatte.cut_out(np.ascontiguousarray(picture), model=engines.memory(), output=output, backend=backend)


@pytest.mark.parametrize("kind", RIGHT)
def test_right(kind: str, backend: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = RIGHT[kind]
    Path("in.bin").write_bytes(data)
    picture = shown(data)
    np.testing.assert_array_equal(still.read(Path("in.bin")).pixels, picture)
    assert image("in.bin", "-o", "out.png", "--output", "alpha", "rgba", "--backend", backend) == 0
    with Image.open("out.png") as alpha, Image.open("out-rgba.png") as cutout:
        np.testing.assert_array_equal(np.asarray(alpha), expected(picture, backend))
        np.testing.assert_array_equal(np.asarray(cutout), expected(picture, backend, "rgba"))
    told = capsys.readouterr().err
    several = re.fullmatch(r"moving (gif|webp|png|tiff)", kind)
    if several:
        what = "pages" if kind == "moving tiff" else "frames"
        assert f"trtmatte image: in.bin has 3 {what}; the first one is used\n" in told
    else:
        assert "the first one is used" not in told
    cut = trtmatte.cut_out(data, model=engines.memory(), output="alpha", backend=backend)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(cut))), expected(picture, backend))


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, why = REFUSED[kind]
    Path("in.bin").write_bytes(data)
    before = sorted(os.listdir())
    assert image("in.bin", "-o", "out.png") == 2
    told = capsys.readouterr().err
    assert re.fullmatch(rf"trtmatte image: in\.bin cannot be read: .*({why}).*\n", told)
    assert sorted(os.listdir()) == before
    with pytest.raises(trtmatte.TrtmatteError, match=f"cannot be read: .*({why})"):
        trtmatte.cut_out(data, model=engines.memory())


def test_a_folder_of_all(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be read is written, and each other file has its line."""
    for number, (data, name) in enumerate([*zip(RIGHT.values(), RIGHT, strict=True)]):
        Path("in").mkdir(exist_ok=True)
        Path(f"in/{number:02} {name}.png").write_bytes(data)
    for name, (data, _) in REFUSED.items():
        Path(f"in/{name}.png").write_bytes(data)
    assert image("in", "-o", "out", "--output", "alpha", "--backend", "onnxruntime") == 1
    lines = capsys.readouterr().err.splitlines()
    for name in REFUSED:
        assert sum(f"in/{name}.png cannot be read" in line for line in lines) == 1
    assert len(lines) == len(REFUSED) + 4  # of moving pictures
    names = [f"{number:02} {name}.png" for number, name in enumerate(RIGHT)]
    assert sorted(os.listdir("out")) == sorted(names)
    for name, data in zip(names, RIGHT.values(), strict=True):
        with Image.open(f"out/{name}") as alpha:
            np.testing.assert_array_equal(np.asarray(alpha), expected(shown(data), "onnxruntime"))


@pytest.mark.parametrize("kind", ["palette with alpha", "EXIF 6", "half a PNG", "empty", "HEIC"])
def test_standard_input(
    kind: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = RIGHT[kind] if kind in RIGHT else REFUSED[kind][0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    status = image("-", "-o", "out.png", "--output", "alpha", "--backend", "onnxruntime")
    if kind in RIGHT:
        assert status == 0
        with Image.open("out.png") as alpha:
            np.testing.assert_array_equal(np.asarray(alpha), expected(shown(data), "onnxruntime"))
    else:
        assert status == 2
        assert capsysbinary.readouterr().err.count(b"\n") == 1
        assert not Path("out.png").exists()


def test_a_telephone_s_files_are_read_in_safe_mode() -> None:
    """Pillow gives JPEG files with a second picture, such as one of depths, a name of its own."""
    cut = trtmatte.cut_out(RIGHT["moving MPO"], model=engines.memory(), safe=True)
    assert Image.open(io.BytesIO(cut)).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("model", ["u2netp", pytest.param("rvm-mobilenetv3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [(1, 1), (2000, 10), (10, 2000), (20_000, 10)], ids=str)
def test_real_models(model: str, size: tuple[int, int], backend: str, tmp_path: Path) -> None:
    """Of every shape: from one pixel to shapes of which the usual reduction would leave nothing."""
    path = str(models.model(model))
    scene(*size).save(tmp_path / "in.png")
    place = tmp_path / "out.png"
    assert image(tmp_path / "in.png", "-o", place, "--backend", backend, model=("--model", path)) == 0
    with Image.open(place) as found:
        assert found.size == size
        cut = trtmatte.cut_out(np.asarray(scene(*size)), model=path, backend=backend)
        np.testing.assert_array_equal(np.asarray(found), cut)
