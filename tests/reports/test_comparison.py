"""`trtmatte compare` and `trtmatte.compare`: pictures, folders and films, and what has no partner."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

import trtmatte
from trtmatte.cli import main
from trtmatte.errors import InputError, SettingError

HEIGHT, WIDTH = 20, 30


def alpha(seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def as_rgba(values):
    colours = np.random.default_rng(9).integers(0, 256, (*values.shape, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([colours, values]), "RGBA")


def save(values, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)
    return path


WAYS = {
    "grey": Image.fromarray,
    "rgb": lambda values: Image.fromarray(values).convert("RGB"),
    "rgba": as_rgba,
    "grey with alpha": lambda values: as_rgba(values).convert("LA"),
    "opaque rgba": lambda values: Image.fromarray(values).convert("RGBA"),
    "16 bits": lambda values: Image.fromarray(values.astype(np.uint16) * 257),
}


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


@pytest.mark.parametrize("way", WAYS)
def test_an_alpha_is_the_same_however_it_is_stored(way, tmp_path):
    save(alpha(), tmp_path / "truth.png")
    WAYS[way](alpha()).save(tmp_path / "result.png")
    assert trtmatte.compare(tmp_path / "truth.png", tmp_path / "result.png").mean.sad == 0


def test_the_measures_are_those_of_the_values(tmp_path):
    save(alpha(1), tmp_path / "truth.png")
    as_rgba(alpha(2)).save(tmp_path / "result.png")
    (row,) = trtmatte.compare(tmp_path / "truth.png", tmp_path / "result.png").rows
    difference = np.abs(alpha(1).astype(float) - alpha(2)) / 255
    assert row.name == "result.png"
    assert row.measures.sad == pytest.approx(difference.sum() / 1000)
    assert row.measures.mse == pytest.approx((difference**2).mean())
    assert row.measures.dtssd is None


def test_arrays():
    found = trtmatte.compare(alpha(1) / 255, alpha(2)[..., None])
    assert found.mean.mad == pytest.approx(np.abs(alpha(1).astype(float) - alpha(2)).mean() / 255)


def test_turned_pictures(tmp_path):
    """EXIF's orientation is applied, as everywhere."""
    save(alpha(), tmp_path / "truth.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(alpha()).copy()).save(tmp_path / "result.png", exif=exif)
    assert trtmatte.compare(tmp_path / "truth.png", tmp_path / "result.png").mean.sad == 0


def test_a_trimap_says_what_is_measured(tmp_path):
    save(alpha(1), tmp_path / "truth.png")
    save(alpha(2), tmp_path / "result.png")
    trimap = np.zeros((HEIGHT, WIDTH), np.uint8)
    trimap[:, 20:], trimap[5:15, 10:20] = 255, 128
    save(trimap, tmp_path / "trimap.png")
    found = trtmatte.compare(tmp_path / "truth.png", tmp_path / "result.png", trimap=tmp_path / "trimap.png")
    difference = np.abs(alpha(1).astype(float) - alpha(2))[5:15, 10:20] / 255
    assert found.mean.sad == pytest.approx(difference.sum() / 1000)
    with pytest.raises(InputError, match=r"the trimap .* is black and white; expected grey"):
        trtmatte.compare(alpha(1), alpha(2), trimap=np.where(trimap == 128, 0, trimap).astype(np.uint8))


def test_what_has_no_alpha(tmp_path):
    as_rgba(alpha()).convert("RGB").save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo\.png is coloured and has no alpha channel; expected an alpha"):
        trtmatte.compare(alpha(), tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"the array has the shape \(2, 3, 5\); expected"):
        trtmatte.compare(alpha(), np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(InputError, match=r"pixels of the type int64; expected uint8, or floats"):
        trtmatte.compare(alpha(), np.zeros((2, 3), np.int64))


def test_sizes_must_be_the_same():
    with pytest.raises(InputError, match=r"the result of the array is 31x20 and the truth 30x20; expected one size"):
        trtmatte.compare(alpha(), alpha(width=31))
    with pytest.raises(InputError, match=r"the trimap of the array is 30x21"):
        trtmatte.compare(alpha(), alpha(), trimap=np.full((21, 30), 128, np.uint8))


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"there is no .*nothing\.png"):
        trtmatte.compare(alpha(), tmp_path / "nothing.png")
    with pytest.raises(SettingError, match="TRUTH is a picture and RESULT is a folder; expected two pictures"):
        trtmatte.compare(alpha(), tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Folders


@pytest.fixture
def folders(tmp_path):
    for number in (9, 10):
        save(alpha(number), tmp_path / "truth" / f"{number}.png")
        save(alpha(number + 20), tmp_path / "result" / f"{number}.bmp")
    return tmp_path / "truth", tmp_path / "result"


def test_folders_are_paired_by_name(folders):
    found = trtmatte.compare(*folders)
    assert [row.name for row in found.rows] == ["9.bmp", "10.bmp"]
    single = [trtmatte.compare(alpha(number), alpha(number + 20)).mean for number in (9, 10)]
    assert [row.measures for row in found.rows] == single
    assert found.mean.mse == pytest.approx((single[0].mse + single[1].mse) / 2)


def test_pictures_without_partner(folders):
    truth, result = folders
    save(alpha(), truth / "only.png")
    with pytest.raises(InputError, match=r"result has no picture like only; expected pictures of the same names"):
        trtmatte.compare(truth, result)
    save(alpha(), result / "other.png")
    with pytest.raises(InputError, match=r"result has no picture like only; .*truth has no picture like other"):
        trtmatte.compare(truth, result)


def test_two_pictures_of_one_name(folders):
    save(alpha(), folders[1] / "9.png")
    with pytest.raises(InputError, match=r"9\.\w+ have one name; expected one picture of a name"):
        trtmatte.compare(*folders)


def test_trimaps_of_folders(folders, tmp_path):
    half = np.zeros((HEIGHT, WIDTH), np.uint8)
    half[:, 15:] = 100
    for number in (9, 10):
        save(half, tmp_path / "trimap" / f"{number}.png")
    found = trtmatte.compare(*folders, trimap=tmp_path / "trimap")
    assert found == trtmatte.compare(*folders, trimap=half)
    assert found.mean.sad < trtmatte.compare(*folders).mean.sad
    (tmp_path / "trimap" / "9.png").unlink()
    with pytest.raises(InputError, match=r"trimap has no trimap for 9; expected one for each picture"):
        trtmatte.compare(*folders, trimap=tmp_path / "trimap")


# ---------------------------------------------------------------------------------------------------------------------
# Films


def test_folders_of_frames_are_films(folders):
    found = trtmatte.compare(*folders, film=True)
    assert [row.name for row in found.rows] == ["0", "1"]
    first, second = ((alpha(n).astype(float), alpha(n + 20).astype(float)) for n in (9, 10))
    change = (second[1] - first[1]) - (second[0] - first[0])
    assert found.rows[0].measures.dtssd is None
    assert found.mean.dtssd == pytest.approx(100 * np.sqrt((change**2).mean()) / 255)
    assert found.mean.sad == pytest.approx(trtmatte.compare(*folders).mean.sad)


def film(path, frames, pixels, codec, **options):
    """A film of pictures of Pillow."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgba")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def smooth(number):
    """A soft edge that moves."""
    place = np.clip((np.arange(WIDTH) - 10 - number) / 6, 0, 1)
    return np.rint(255 * np.tile(place, (HEIGHT, 1))).astype(np.uint8)


def test_films_with_an_alpha_channel_and_grey_ones(tmp_path):
    alphas = [smooth(number) for number in range(3)]
    for number, each in enumerate(alphas):
        save(each, tmp_path / "truth" / f"{number}.png")
    grey = film(tmp_path / "grey.mkv", map(WAYS["opaque rgba"], alphas), "yuv444p", "libx264", qp="0")
    rgba = film(tmp_path / "rgba.mov", map(as_rgba, alphas), "yuva444p10le", "prores_ks", profile="4444")
    for each in (grey, rgba):
        found = trtmatte.compare(tmp_path / "truth", each, film=True)
        assert len(found.rows) == 3
        assert found.mean.mad <= 2 / 255
        assert found.mean.dtssd is not None
    assert trtmatte.compare(grey, grey).mean.dtssd == 0
    with pytest.raises(SettingError, match=r"TRUTH is a folder and RESULT is a film; .*--film"):
        trtmatte.compare(tmp_path / "truth", grey)
    (tmp_path / "truth" / "2.png").unlink()
    with pytest.raises(InputError, match=r"truth has 2 frames, and .*grey\.mkv has more; expected films of one length"):
        trtmatte.compare(tmp_path / "truth", grey, film=True)


# ---------------------------------------------------------------------------------------------------------------------
# The command


def test_a_table(folders, capsys):
    assert main.main(["compare", *map(str, folders)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SAD", "MSE", "MAD", "gradient", "connectivity"]
    assert [line.split()[0] for line in lines[1:]] == ["9.bmp", "10.bmp", "mean"]
    assert lines[3].split()[1] == f"{trtmatte.compare(*folders).mean.sad:.3f}"


def test_json(folders, capsys):
    assert main.main(["compare", *map(str, folders), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = trtmatte.compare(*folders)
    assert told["mean"] == found.mean.to_json()
    assert told["pictures"][1] == {"name": "10.bmp", **found.rows[1].measures.to_json()}


def test_a_film_is_one_row(folders, capsys):
    assert main.main(["compare", *map(str, folders), "--film"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("2 frames")
    assert "dtSSD" in lines[0]


def test_wrong_input_is_one_line(folders, capsys):
    (folders[0] / "9.png").unlink()
    assert main.main(["compare", *map(str, folders)]) == 2
    assert "truth has no picture like 9" in capsys.readouterr().err
