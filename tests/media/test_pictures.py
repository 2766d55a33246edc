"""Pictures as frames: which, in what order, how they are turned, and what does not fit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.media import films
from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media import pictures
from trtmatte.media.opening import open_source
from trtmatte.media.pictures import PictureSource
from trtmatte.media.raw import RawSource
from trtmatte.media.video import VideoSource


def save(path: Path, number: int = 0, size: tuple[int, int] = (20, 10), **options: Any) -> Path:
    Image.fromarray(films.picture(number, *size)).save(path, **options)
    return path


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 1, 100):
        save(tmp_path / f"shot {number}.png", number)
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.png").touch()
    source = open_source(tmp_path, rate="24000/1001")
    frames = list(source.frames())
    assert source.facts.size == (20, 10)
    assert (source.facts.rate, source.facts.count, source.facts.is_still) == (films.NTSC, 4, False)
    assert [frame.pts for frame in frames] == [0, 1, 2, 3]
    for frame, number in zip(frames, (1, 9, 10, 100), strict=True):
        assert (frame.picture == films.picture(number, 20, 10)).all()


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    for name in ("1²3.png", "1٣.png", f"{'9' * 200}.png"):
        save(tmp_path / name)
    assert len(pictures.find(tmp_path) or []) == 3


def test_a_pattern_and_one_picture(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png"):
        save(tmp_path / name)
    assert [path.name for path in pictures.find(f"{tmp_path}/a*.png") or []] == ["a1.png", "a2.png"]
    assert open_source(tmp_path / "b1.png").facts.is_still
    with pytest.raises(InputError, match="nothing fits"):
        open_source(f"{tmp_path}/c*.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no pictures; expected files like \.png"):
        open_source(tmp_path / "empty")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16], stored[:8, 16:], stored[8:, :16] = 230, 150, 80
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    shown = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }
    source = PictureSource([tmp_path / "a.png"])
    (frame,) = source.frames()
    assert source.facts.size == (frame.picture.shape[1], frame.picture.shape[0])
    assert (frame.picture == shown[orientation]).all()


def test_grey_palettes_and_sixteen_bits(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint8)).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(ramp * 257).save(tmp_path / "deep.png")
    for name in ("grey", "palette", "deep"):
        read = pictures.read(tmp_path / f"{name}.png")
        assert np.abs(read - ramp[..., None].astype(int)).max() <= 1, name


def test_sizes_that_differ(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", size=(10, 20))]
    with pytest.raises(InputError, match=r"b.png is 10x20 and .*a.png is 20x10; .* give input_resize"):
        PictureSource(paths)
    frames = list(PictureSource(paths, resize=(16, 8)).frames())
    assert [frame.picture.shape for frame in frames] == [(8, 16, 3)] * 2


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a.png cannot be read: it is no picture"):
        open_source(tmp_path / "a.png")


def test_one_that_is_damaged_among_others(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png", number, (200, 200)) for number in range(3)]
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    frames = PictureSource(paths).frames()
    assert [next(frames).pts, next(frames).pts] == [0, 1]
    with pytest.raises(TruncatedError, match=r"break off after 2: .*2.png cannot be read"):
        next(frames)


def test_what_fits_what(tmp_path: Path) -> None:
    film = films.film(tmp_path / "a.mp4", 2)
    assert isinstance(open_source(film), VideoSource)
    assert isinstance(open_source("-", raw="4x2@25"), RawSource)
    source = open_source(film)
    assert open_source(source) is source
    for place, options, message in [
        ("-", {}, "standard input needs raw='WIDTHxHEIGHT@FPS'"),
        (film, {"raw": "4x2@25"}, "raw is for frames on standard input"),
        ("-", {"raw": "4x2", "start": 1.0}, "start is given, which standard input cannot have"),
        (save(tmp_path / "a.png"), {"end": 1.0}, "end is given, which pictures cannot have"),
        (film, {"start": -1.0}, "expected seconds from the beginning"),
    ]:
        with pytest.raises(SettingError, match=message):
            open_source(place, **options)


def test_pictures_need_a_rate_that_is_one(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert open_source(tmp_path, rate=25).facts.rate == Fraction(25)
    for rate in ("fast", "0", "-3", "1/0"):
        with pytest.raises(SettingError, match="expected frames a second"):
            open_source(tmp_path, rate=rate)
