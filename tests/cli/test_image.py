"""`trtmatte image` on real files."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests import real_models as models
from tests.runtime.session import engines
from trtmatte.apps import pictures as stills
from trtmatte.cli import image, main
from trtmatte.errors import SettingError
from trtmatte.format import file as engine
from trtmatte.media import still

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "tiny.trtm"
    engine.write(engines.memory(), path)
    return path


@pytest.fixture(scope="module")
def with_plate(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "two.trtm"
    engine.write(engines.memory(with_plate=True), path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Of several sizes and kinds; each has its own noise."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, (name, size) in enumerate({"a.png": (32, 24), "b.webp": (31, 45), "c10.bmp": (64, 20)}.items()):
        Image.fromarray(engines.noise(number, *size)).save(folder / name, lossless=True)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(*arguments):
    return main.main(["image", *map(str, arguments), "--backend", "onnxruntime"])


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def expected(path, output, options=None, *given, made=None):
    """What a session of its own makes of a picture."""
    with (made or engines.memory()).session(backend="onnxruntime", outputs=(output,), **(options or {})) as session:
        result = session(still.read(path).pixels, *given)[0].copy()
    if output == "rgba":
        result[result[..., 3] == 0] = 0
    return np.squeeze(result)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# What is written


def test_every_output_of_every_picture_is_the_sessions(tiny, pictures, out, capsys):
    """Sizes may differ, and no picture leaves anything to the next."""
    kinds = ("rgba", "alpha", "foreground", "composite")
    assert run(pictures, "-o", out, "--engine", tiny, "--output", *kinds, "--background", "#102030") == 0
    for source in pictures.iterdir():
        for kind, output in zip(kinds, ("rgba", "pha", "fgr", "composite"), strict=True):
            written = out / f"{source.stem}{'' if kind == 'rgba' else '-' + kind}.png"
            options = {"background": "#102030"} if kind == "composite" else {}
            np.testing.assert_array_equal(pixels(written), expected(source, output, options))
    assert len(names(out)) == 12
    assert "3 of 3 pictures are in" in capsys.readouterr().err


def test_one_picture_into_a_file(tiny, pictures, tmp_path, capsys):
    place = tmp_path / "new" / "cut.webp"
    assert run(pictures / "a.png", "-o", place, "--engine", tiny, "--quality", 100) == 0
    np.testing.assert_array_equal(pixels(place), expected(pictures / "a.png", "rgba"))
    assert names(place.parent) == ["cut.webp"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ((), "rgba"),
        (("--format", "webp"), "rgba"),
        (("--format", "jpeg"), "composite"),
        (("--background", "red"), "composite"),
        (("--output", "alpha", "--format", "jpeg"), "alpha"),
    ],
)
def test_what_is_written_when_nobody_says(flags, kind, tiny, pictures, out):
    assert run(pictures / "a.png", "-o", out, "--engine", tiny, *flags) == 0
    (path,) = out.iterdir()
    with Image.open(path) as opened:
        assert opened.mode == {"rgba": "RGBA", "composite": "RGB", "alpha": "L"}[kind]


@pytest.mark.parametrize("background", ["blur", "blur:8", "120,255,155", "picture", "greenscreen"])
def test_backgrounds(background, tiny, pictures, out, tmp_path):
    """A picture fills the frame and is cropped."""
    behind = engines.noise(9, 48, 24)
    Image.fromarray(behind).save(tmp_path / "behind.png")
    given = tmp_path / "behind.png" if background == "picture" else background
    assert run(pictures / "a.png", "-o", out, "--engine", tiny, "--background", given) == 0
    meant = {"120,255,155": (120, 255, 155), "picture": behind[:, 8:40]}.get(background, background)
    np.testing.assert_array_equal(
        pixels(out / "a.png"), expected(pictures / "a.png", "composite", {"background": meant})
    )


def test_profiles_and_exif_go_with_colours_and_not_with_alpha(tiny, out, tmp_path):
    cms = pytest.importorskip("PIL.ImageCms")
    profile = cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    Image.fromarray(engines.noise(0, 40, 20)).save(tmp_path / "a.png", icc_profile=profile, exif=exif)
    assert run(tmp_path / "a.png", "-o", out, "--engine", tiny, "--output", "rgba", "alpha") == 0
    with Image.open(out / "a.png") as cut, Image.open(out / "a-alpha.png") as alpha:
        assert cut.size == alpha.size == (20, 40)  # upright
        assert cut.info["icc_profile"] == profile
        assert dict(cut.getexif()) == {0x010F: "maker"}
        assert "icc_profile" not in alpha.info
        assert not alpha.getexif()


def test_patterns_and_names_given_twice(tiny, pictures, out):
    assert run(pictures / "*.png", pictures / "a.png", pictures / "c10.bmp", "-o", out, "--engine", tiny) == 0
    assert names(out) == ["a.png", "c10.png"]


def test_what_is_cut_out_is_not_in_the_file(tiny, out, tmp_path):
    """Black is where the tiny engine's alpha is 0, on its left half but for a border."""
    picture = engines.noise(0)
    picture[:, :16] = (0, 0, 1)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert run(tmp_path / "a.png", "-o", out, "--engine", tiny) == 0
    cut = pixels(out / "a.png")
    assert (cut[:, :12] == 0).all()
    assert (cut[:, 20:, :3] == picture[:, 20:]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Plates


def test_one_plate_for_all(with_plate, out, tmp_path, capsys):
    made = engines.memory(with_plate=True)
    for number in range(3):
        Image.fromarray(engines.noise(number)).save(tmp_path / f"{number}.png")
    arguments = (tmp_path / "1.png", tmp_path / "2.png", "-o", out, "--engine", with_plate, "--output", "alpha")
    assert run(*arguments, "--plate", tmp_path / "0.png") == 0
    shown = {path: path.read_bytes() for path in out.iterdir()}
    assert run(*arguments, "--background-shot", tmp_path / "0.png", "-y") == 0
    assert shown == {path: path.read_bytes() for path in out.iterdir()}
    assert capsys.readouterr().err.count("--background-shot is now called --plate") == 1
    for number in (1, 2):
        alone = expected(tmp_path / f"{number}.png", "pha", {}, engines.noise(0), made=made)
        np.testing.assert_array_equal(pixels(out / f"{number}.png"), alone)


def test_a_plate_for_each_by_its_name(with_plate, out, tmp_path):
    made = engines.memory(with_plate=True)
    for folder, suffix, seed in (("src", "png", 0), ("bgr", "bmp", 10)):
        (tmp_path / folder).mkdir()
        for number, size in enumerate([(32, 24), (20, 30)]):
            Image.fromarray(engines.noise(seed + number, *size)).save(tmp_path / folder / f"{number}.{suffix}")
    arguments = (tmp_path / "src", "-o", out, "--engine", with_plate, "--output", "alpha")
    assert run(*arguments, "--plate", tmp_path / "bgr") == 0
    for number, size in enumerate([(32, 24), (20, 30)]):
        alone = expected(tmp_path / f"src/{number}.png", "pha", {}, engines.noise(10 + number, *size), made=made)
        np.testing.assert_array_equal(pixels(out / f"{number}.png"), alone)
    (tmp_path / "bgr" / "1.bmp").unlink()
    assert run(*arguments, "--plate", tmp_path / "bgr", "-y") == 2


def test_a_plate_is_aligned_or_that_is_told(with_plate, out, tmp_path, capsys):
    pytest.importorskip("cv2")
    from tests.media.test_alignment import movement, seen_after, texture

    plate = texture()
    frame = seen_after(plate, movement())
    Image.fromarray(plate).save(tmp_path / "bgr.png")
    Image.fromarray(frame).save(tmp_path / "src.png")
    Image.fromarray(np.full_like(frame, 90)).save(tmp_path / "flat.png")
    arguments = ("-o", out, "--engine", with_plate, "--output", "alpha", "--plate", tmp_path / "bgr.png")
    made = engines.memory(with_plate=True)
    assert run(tmp_path / "src.png", tmp_path / "flat.png", *arguments, "--preprocess-alignment") == 0
    aligned = expected(tmp_path / "src.png", "pha", {}, frame, made=made)
    assert np.abs(pixels(out / "src.png").astype(int) - aligned).mean() < 1
    as_it_is = expected(tmp_path / "flat.png", "pha", {}, plate, made=made)
    np.testing.assert_array_equal(pixels(out / "flat.png"), as_it_is)
    told = capsys.readouterr().err
    assert told.count("is not aligned") == 1
    assert f"{tmp_path / 'flat.png'}: the plate is not aligned" in told


def test_plates_where_none_is_needed_and_none_where_one_is(tiny, with_plate, pictures, out, capsys):
    assert run(pictures / "a.png", "-o", out, "--engine", with_plate) == 2
    assert "memory needs the plate, the photographed empty scene: give --plate" in capsys.readouterr().err
    assert run(pictures / "a.png", "-o", out, "--engine", tiny, "--plate", pictures / "b.webp") == 2
    assert "leave --plate out" in capsys.readouterr().err
    assert run(pictures / "a.png", "-o", out, "--engine", with_plate, "--plate", out / "no.png") == 2
    assert not out.exists()


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong


def test_one_bad_picture_stops_no_other(tiny, pictures, out, capsys):
    (pictures / "bad.png").write_text("words")
    (pictures / "empty.jpg").touch()
    assert run(pictures, "-o", out, "--engine", tiny) == 1
    assert names(out) == ["a.png", "b.png", "c10.png"]
    told = capsys.readouterr().err
    assert "bad.png cannot be read: it is no picture" in told
    assert "empty.jpg cannot be read" in told
    assert "3 of 5 pictures" in told


def test_a_bad_picture_alone(tiny, out, tmp_path, capsys):
    (tmp_path / "text.png").write_text("words")
    assert run(tmp_path / "text.png", "-o", out, "--engine", tiny) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_a_plate_of_another_size(with_plate, pictures, out, capsys):
    arguments = ("-o", out, "--engine", with_plate, "--plate", pictures / "a.png", "--output", "alpha")
    Image.fromarray(engines.noise(5)).save(pictures / "d.png")
    Image.fromarray(engines.noise(6, 64, 48)).save(pictures / "e.png")
    Image.fromarray(engines.noise(7, 64, 48)).save(pictures / "f.png")
    names_given = ("d.png", "c10.bmp", "e.png", "f.png")
    assert run(*(pictures / name for name in names_given), *arguments) == 1
    assert names(out) == ["d.png", "e.png", "f.png"]
    told = capsys.readouterr().err
    assert "c10.bmp: the plate is 32x24 and the picture 64x20; expected the same aspect ratio: crop the plate" in told
    assert told.count("the plate is 32x24 and the picture 64x48: the plate is scaled") == 1
    scaled = np.asarray(Image.open(pictures / "a.png").resize((64, 48), Image.Resampling.BICUBIC))
    alone = expected(pictures / "e.png", "pha", {}, scaled, made=engines.memory(with_plate=True))
    np.testing.assert_array_equal(pixels(out / "e.png"), alone)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("nothing.png", "-o", "OUT"), "there is no nothing.png"),
        (("IN/*.gif", "-o", "OUT"), "nothing fits"),
        (("IN", "-o", "OUT/x.png"), "is a file, and there are 3 pictures"),
        (("IN/a.png", "-o", "OUT/x.png", "--format", "webp"), "contradict each other"),
        (("IN/a.png", "-o", "OUT/x.tiff"), "is of a kind that is not written; expected .png, .webp"),
        (("IN/a.png", "-o", "OUT/x.jpg", "--output", "rgba"), "JPEG has no transparency"),
        (("IN/a.png", "-o", "OUT", "--output", "alpha", "--background", "red"), "ask for one with --output composite"),
        (("IN/a.png", "-o", "OUT", "--background", "nocolour"), "background is 'nocolour'"),
        (("IN/a.png", "-o", "IN"), "is an input, or would be written twice"),
        (("IN/a.png", "-o", "IN", "-y"), "is an input, or would be written twice"),
        (("IN/a.png", "TWIN/a.webp", "-o", "OUT"), "or would be written twice"),
    ],
)
def test_what_cannot_be_meant(flags, message, tiny, pictures, out, tmp_path, capsys):
    twin = tmp_path / "twin"
    twin.mkdir()
    Image.fromarray(engines.noise(0)).save(twin / "a.webp")
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    for word, place in (("IN", pictures), ("OUT", out), ("TWIN", twin)):
        flags = [flag.replace(word, str(place)) if flag.startswith(word) else flag for flag in flags]
    assert main.main(["image", *flags, "--engine", str(tiny)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("trtmatte image: ")
    assert told.count("\n") == 1
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before
    assert not out.exists() or names(out) == []


def test_existing_files_stay_unless_told(tiny, pictures, out, capsys):
    out.mkdir()
    (out / "c10-alpha.png").write_bytes(b"mine")
    arguments = (pictures, "-o", out, "--engine", tiny, "--output", "rgba", "alpha")
    assert run(*arguments) == 2
    assert "c10-alpha.png exists already; -y overwrites" in capsys.readouterr().err
    assert names(out) == ["c10-alpha.png"]
    assert run(*arguments, "-y") == 0
    np.testing.assert_array_equal(pixels(out / "c10-alpha.png"), expected(pictures / "c10.bmp", "pha"))


def test_a_folder_that_cannot_be_made_or_written_to(tiny, pictures, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    assert run(pictures, "-o", tmp_path / "file" / "out", "--engine", tiny) == 1
    assert "cannot be made: Not a directory" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert run(pictures, "-o", tmp_path / "closed", "--engine", tiny) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_a_folder_that_nothing_is_written_to_does_not_stay(pictures, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    for folder in ("new", "new/er", "there"):
        assert run(pictures, "-o", tmp_path / folder, "--model", "rvm-mobilnetv3") == 2
        assert "no known model is called 'rvm-mobilnetv3'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path != pictures) == ["there"]


def test_a_full_disk_ends_it(tiny, pictures, out, capsys, monkeypatch):
    """What was written before is whole, and nothing else is there."""
    synced = []

    def fill(descriptor):
        synced.append(descriptor)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    for number in range(9):
        Image.fromarray(engines.noise(number)).save(pictures / f"d{number}.png")
    assert run(pictures, "-o", out, "--engine", tiny) == 1
    told = capsys.readouterr().err
    assert "cannot be written: No space left on device" in told
    written = names(out)
    assert len(written) == 2
    for name in written:
        pixels(out / name)


def test_being_stopped(tiny, out, tmp_path):
    """The pictures that are there are whole."""
    (tmp_path / "in").mkdir()
    Image.fromarray(engines.noise(0, 800, 600)).save(tmp_path / "in" / "0.bmp")
    for number in range(1, 200):
        os.link(tmp_path / "in" / "0.bmp", tmp_path / "in" / f"{number}.bmp")
    command = [sys.executable, "-m", "trtmatte.cli.main", "image", tmp_path / "in", "-o", out, "--engine", tiny]
    running = subprocess.Popen([*map(str, command), "--backend", "onnxruntime"], stderr=subprocess.PIPE, text=True)
    while not (out.is_dir() and any(out.glob("*.png"))):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert told == "trtmatte image: stopped\n"
    assert 0 < len(names(out)) < 200
    for name in names(out):
        assert pixels(out / name).shape == (600, 800, 4)


# ---------------------------------------------------------------------------------------------------------------------
# Real models, and shapes


def test_an_engine_for_each_shape_of_picture(pictures, tmp_path, monkeypatch):
    """Wide pictures share one, tall ones another. A small picture decides for no large one."""
    monkeypatch.setattr("trtmatte.apps.matting.follows_the_frame", lambda family: True)
    asked = []

    def build(size):
        asked.append(size)
        return engines.memory()

    sizes = [(32, 24), (24, 32), (24, 18), (31, 45), (64, 20), (640, 480), (80, 60), (1200, 900)]
    tasks = []
    for number, size in enumerate(sizes):
        Image.fromarray(engines.noise(number, *size)).save(tmp_path / f"{number}.png")
        tasks.append(stills.Task(tmp_path / f"{number}.png", {"alpha": tmp_path / f"{number}-alpha.png"}))
    assert stills.convert(tasks, build, backend="onnxruntime") == []
    assert sorted(asked) == sorted([(32, 24), (24, 32), (64, 20), (640, 480), (80, 60)])


class Patches:
    """An engine that refines in patches, and its session: alpha is the plate's red, foreground the frame."""

    program = SimpleNamespace(pictures=("frame", "plate"), capacity=9, family="bgmv2")

    def __init__(self, size):
        if any(side % 4 for side in size):
            raise SettingError(f"size is {size}")
        self.engine = self
        self.size = size

    def session(self, **options):
        return self

    def reset(self):
        pass

    def close(self):
        pass

    def __call__(self, frame, plate, background=None):
        assert frame.shape == plate.shape
        assert frame.shape[0] % 4 == frame.shape[1] % 4 == 0
        assert (frame[-1] == frame[-2]).all()  # the last row again
        return {"pha": plate[..., :1], "fgr": frame}


def test_whole_patches(tmp_path):
    """Models that refine in patches take sides that 4 divides; nobody has to know."""
    frame, background = engines.noise(0, 30, 43), engines.noise(1, 30, 43)
    places = {name: tmp_path / f"{name}.png" for name in ("alpha", "foreground")}
    for name, picture in (("frame", frame), ("background", background)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    made: list[Any] = []
    task = stills.Task(tmp_path / "frame.png", places, tmp_path / "background.png")
    assert stills.convert([task], lambda size: made.append(Patches(size)) or made[-1]) == []
    assert made[0].size == (32, 44)
    np.testing.assert_array_equal(pixels(places["alpha"]), background[..., 0])
    np.testing.assert_array_equal(pixels(places["foreground"]), frame)


@pytest.mark.parametrize("model", ["u2netp", "rvm-mobilenetv3"])
def test_a_real_model_by_its_name(model, out, tmp_path, monkeypatch):
    models.model(model)
    pytest.importorskip("onnx")
    photograph = models.photograph()[:, :509]
    Image.fromarray(photograph).save(tmp_path / "portrait.png")
    arguments = (tmp_path / "portrait.png", "-o", out, "--model", model, "--output", "composite", "alpha")
    assert run(*arguments, "--background", "blur") == 0
    alpha = pixels(out / "portrait-alpha.png")
    assert alpha.shape == (512, 509)
    assert alpha[200:400, 200:300].mean() > 225  # her face and her suit
    assert alpha[:100, 320:480].mean() < 15  # the wall
    composite = pixels(out / "portrait.png").astype(int)
    sure = alpha == 255
    if model == "u2netp":  # the foreground is the picture's
        np.testing.assert_array_equal(composite[sure], photograph[sure])
    assert np.abs(composite - photograph)[:100, 320:480].mean() > 0.5


# ---------------------------------------------------------------------------------------------------------------------
# The picture scripts of BackgroundMattingV2, MODNet and U-2-Net


@pytest.mark.parametrize(
    ("original", "ours", "name", "value"),
    [
        ("--model-checkpoint m.pth", "--model-checkpoint m.pth", "model", "m.pth"),
        ("--model-type, --model-backbone", "", "model", "m.pth"),  # recognised
        ("--model-backbone-scale 0.5", "--model-backbone-scale 0.5", "backbone_scale", 0.5),
        ("--model-refine-mode full", "--model-refine-mode full", "refine_mode", "full"),
        ("--model-refine-sample-pixels 9", "--model-refine-sample-pixels 9", "refine_sample_pixels", 9),
        ("--model-refine-threshold 0.2", "--model-refine-threshold 0.2", "refine_threshold", 0.2),
        ("--model-refine-kernel-size 1", "--set refine_kernel_size=1", "settings", [("refine_kernel_size", 1)]),
        ("--images-src in", "", "inputs", ["in"]),
        ("--images-bgr bgr", "--images-bgr bgr", "plate", Path("bgr")),
        ("--device cuda", "--device cuda", "device", "cuda"),
        ("--preprocess-alignment", "--preprocess-alignment", "preprocess_alignment", True),
        ("--output-dir out", "", "out", "out"),
        ("--output-types com pha fgr", "--output rgba alpha foreground", "output", ["rgba", "alpha", "foreground"]),
        ("-y", "-y", "overwrite", True),
        ("MODNet: --input-path in", "", "inputs", ["in"]),
        ("MODNet: --output-path out", "--output alpha", "output", ["alpha"]),
        ("MODNet: --ckpt-path m.pth", "--checkpoint m.pth", "model", "m.pth"),
        ("MODNet: --image-path, --model-path", "--model m.onnx", "model", "m.onnx"),
        ("U-2-Net: model_name = 'u2netp'", "--model u2netp --output alpha", "model", "u2netp"),
    ],
)
def test_what_the_original_scripts_offer(original, ours, name, value):
    parser = argparse.ArgumentParser()
    image.add_parser(parser.add_subparsers())
    flags = ours if "checkpoint" in ours or "--model " in ours else f"--model m.pth {ours}"
    assert getattr(parser.parse_args(["image", "in", "-o", "out", *flags.split()]), name) == value, original
