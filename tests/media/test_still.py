"""Single pictures: every kind that people have, and what files say besides pixels."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from trtmatte.errors import InputError, OutputError
from trtmatte.media import still

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKER = 0x0112, 0x010F


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_colours(suffix, tmp_path):
    options = {"lossless": True} if suffix == ".webp" else {}
    read = still.read(saved(tmp_path / f"a{suffix}", Image.fromarray(COLOURS), **options))
    np.testing.assert_array_equal(read.pixels, COLOURS)
    assert (read.size, read.profile, read.exif) == ((13, 9), b"", b"")


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_bits_and_palettes(mode, tmp_path):
    image = Image.fromarray(COLOURS).convert(mode)
    read = still.read(saved(tmp_path / "a.png", image))
    np.testing.assert_array_equal(read.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_of_grey(suffix, tmp_path):
    """65535 is white; what Pillow itself would do is to cut at 255."""
    deep = GREY.astype(np.uint16) * 257
    read = still.read(saved(tmp_path / f"a{suffix}", Image.fromarray(deep)))
    np.testing.assert_array_equal(read.pixels, np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pictures_are_put_over_white(mode, tmp_path):
    image = Image.fromarray(COLOURS).convert("L" if mode == "LA" else "RGB")
    if mode == "P":
        image = image.convert("P")
        image.info["transparency"] = bytes([0] * 128 + [255] * 128)
        seen = image.convert("RGBA")
    else:
        image.putalpha(Image.fromarray(GREY))
        seen = image.convert("RGBA")
    values = np.asarray(seen).astype(float)
    alpha = values[..., 3:] / 255
    read = still.read(saved(tmp_path / "a.png", image))
    np.testing.assert_allclose(read.pixels, values[..., :3] * alpha + 255 * (1 - alpha), atol=1)


def test_inks(tmp_path):
    ink = Image.fromarray(COLOURS).convert("CMYK")
    read = still.read(saved(tmp_path / "a.tiff", ink))
    np.testing.assert_array_equal(read.pixels, np.asarray(ink.convert("RGB")))
    damaged = still.read(saved(tmp_path / "b.tiff", ink, icc_profile=b"no profile of inks"))
    np.testing.assert_array_equal(damaged.pixels, read.pixels)
    assert damaged.profile == b""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_data_say(orientation, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "maker"
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's numbers of what makes them upright
    image = Image.fromarray(COLOURS)
    upright = image.transpose(turns[orientation]) if orientation in turns else image
    read = still.read(saved(tmp_path / "a.png", image, exif=exif))
    np.testing.assert_array_equal(read.pixels, np.asarray(upright))
    kept = Image.Exif()
    kept.load(read.exif)
    assert kept.get(ORIENTATION, 1) == 1
    assert kept[MAKER] == "maker"


@pytest.mark.parametrize(("suffix", "quality"), [(".png", 95), (".webp", 100), (".webp", 90), (".jpg", 90)])
def test_what_is_written(suffix, quality, tmp_path):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[MAKER] = "maker"
    smooth = np.asarray(Image.fromarray(COLOURS).resize((130, 90), Image.Resampling.BICUBIC))
    still.write(smooth, path, quality=quality, profile=SRGB, exif=exif.tobytes())
    again = still.read(path)
    worst = 0 if suffix == ".png" or quality == 100 else 12
    assert np.abs(again.pixels.astype(int) - smooth).mean() <= worst / 4
    assert np.abs(again.pixels.astype(int) - smooth).max() <= worst * 5
    assert again.profile == SRGB
    with Image.open(path) as opened:
        assert opened.getexif()[MAKER] == "maker"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_channels(channels, suffix, tmp_path):
    """Colours that nobody sees are kept, too. WebP has no grey: there it comes back as colours."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, channels), dtype=np.uint8)
    still.write(pixels[:, ::-1], tmp_path / f"a{suffix}", quality=100)
    with Image.open(tmp_path / f"a{suffix}") as opened:
        again = np.atleast_3d(np.asarray(opened))
    np.testing.assert_array_equal(again[..., :channels], pixels[:, ::-1])


def test_a_profile_of_greys_is_not_one_of_colours(tmp_path):
    grey = bytearray(SRGB)
    grey[16:20] = b"GRAY"
    assert still.read(saved(tmp_path / "a.png", Image.fromarray(GREY), icc_profile=bytes(grey))).profile == b""


def test_no_pictures(tmp_path):
    for name, data in (("text.png", b"words"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name} cannot be read: it is no picture"):
            still.read(tmp_path / name)
    (tmp_path / "film.MP4").write_bytes(b"words")
    with pytest.raises(InputError, match=r"it is no picture, .*PPM; videos are read by `trtmatte video`"):
        still.read(tmp_path / "film.MP4")
    with pytest.raises(InputError, match="there is no file"):
        still.read(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="it is a folder; expected a file"):
        still.read(tmp_path)


def test_a_picture_that_breaks_off(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLOURS).resize((400, 300)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a.jpg cannot be read: .*truncated"):
        still.read(path)


def test_numbers_that_are_no_bytes(tmp_path):
    path = saved(tmp_path / "a.tiff", Image.fromarray(GREY.astype(np.float32)))
    with pytest.raises(InputError, match=r"floating-point numbers; expected 8 or 16 bits"):
        still.read(path)
    path = saved(tmp_path / "b.tiff", Image.fromarray(GREY.astype(np.int32) * 100_000))
    with pytest.raises(InputError, match=r"32 bits; expected 8 or 16"):
        still.read(path)


def test_what_a_format_cannot_hold(tmp_path):
    with pytest.raises(OutputError, match=r"a.webp cannot be written"):
        still.write(np.zeros((2, 17_000, 3), np.uint8), tmp_path / "a.webp")
    assert not os.listdir(tmp_path)


def test_a_full_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(OutputError, match=r"a.png cannot be written: No space left on device"):
        still.write(COLOURS, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.png"]
