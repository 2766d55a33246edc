"""Where `trtmatte image` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.cli import main


@pytest.fixture
def photos(here: Path) -> Path:
    """The current folder, with an engine and a folder of two pictures, one of them with a blank in its name."""
    folder = here / "photos"
    folder.mkdir()
    for number, name in enumerate(("a.jpg", "b ü.JPG")):
        Image.fromarray(engines.noise(number)).save(folder / name, "JPEG")
    return folder


def run(*arguments: Any) -> int:
    return main.main(["image", *map(str, arguments), "--engine", "tiny.trtm", "--backend", "onnxruntime"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# Beside the input


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        ((), {"a-cutout.png": "RGBA"}),
        (("--output", "alpha"), {"a-alpha.png": "L"}),
        (("--background", "red"), {"a-composite.png": "RGB"}),
        (("--format", "jpeg"), {"a-composite.jpg": "RGB"}),
        (("--format", "webp"), {"a-cutout.webp": "RGBA"}),
        (
            ("--output", "foreground", "rgba", "alpha"),
            {"a-foreground.png": "RGB", "a-cutout.png": "RGBA", "a-alpha.png": "L"},
        ),
    ],
)
def test_an_output_is_beside_its_input(
    flags: tuple[str, ...], written: dict[str, str], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(photos)
    assert run(photos / "a.jpg", *flags) == 0
    assert sorted(set(names(photos)) - set(before)) == sorted(written)
    for name, mode in written.items():
        with Image.open(photos / name) as image:
            assert image.mode == mode
    told = ", ".join(str(photos / name) for name in written)
    assert capsys.readouterr().err == f"trtmatte image: written: {told}\n"


def test_of_pictures_and_folders_each_is_beside_its_own(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(engines.noise(2)).save("c.png")
    assert run("photos", "c.png") == 0
    assert names(photos) == ["a-cutout.png", "a.jpg", "b ü-cutout.png", "b ü.JPG"]
    assert Path("c-cutout.png").exists()
    assert capsys.readouterr().err == "trtmatte image: 3 of 3 pictures are beside their inputs\n"


@pytest.mark.parametrize("place", ["photos", "photos/*"])
def test_outputs_of_an_earlier_run_are_no_inputs(place: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--output", "alpha", "rgba") == 0
    once = names(photos)
    capsys.readouterr()
    assert run(place, "--output", "alpha", "rgba", "-y") == 0
    assert names(photos) == once
    assert "4 outputs of an earlier run are left out; to matte one, name its file" in capsys.readouterr().err
    assert run(place, "-o", "out") == 0
    assert names(Path("out")) == ["a.png", "b ü.png"]
    assert run(photos / "a-cutout.png", "-o", "out") == 0
    assert "a-cutout.png" in names(Path("out"))


def test_a_picture_that_is_called_like_an_output_is_an_input(photos: Path) -> None:
    """There is no picture that it could be the output of."""
    (photos / "a.jpg").rename(photos / "dress-cutout.jpg")
    assert run("photos", "-o", "out") == 0
    assert names(Path("out")) == ["b ü.png", "dress-cutout.png"]


def test_an_output_that_exists_stays(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "a-cutout.png").write_bytes(b"mine")
    assert run(photos / "a.jpg") == 2
    assert "a-cutout.png exists already; -y overwrites, -o chooses another place" in capsys.readouterr().err
    assert (photos / "a-cutout.png").read_bytes() == b"mine"


def test_no_output_is_an_input(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(engines.noise(1)).save(photos / "a-cutout.png")
    assert run(photos / "a.jpg", photos / "a-cutout.png", "-y") == 2
    assert "a-cutout.png is an input, or would be written twice" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# The last of several names


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ("photos/a.jpg out.png", "out.png"),
        ("photos/a.jpg new/out.webp", "new/out.webp"),
        ("photos/a.jpg out.jpg", "out.jpg"),
        ("photos/a.jpg out", "out/a.png"),
        ("photos/a.jpg empty", "empty/a.png"),
        ("photos out", "out/a.png out/b ü.png"),
        ("photos/a.jpg photos/*.JPG out/", "out/a.png out/b ü.png"),
        ("photos empty --output alpha", "empty/a.png empty/b ü.png"),
    ],
)
def test_a_last_name_that_can_only_be_the_output(arguments: str, written: str, photos: Path, here: Path) -> None:
    Path("empty").mkdir()
    before = {*here.rglob("*")}
    assert run(*arguments.split()) == 0
    made = {path.relative_to(here).as_posix() for path in {*here.rglob("*")} - before if path.is_file()}
    assert made == {each.replace("b_", "b ") for each in written.replace("b ü", "b_ü").split()}


def test_two_pictures_are_two_inputs(photos: Path) -> None:
    assert run(photos / "a.jpg", photos / "b ü.JPG") == 0
    assert names(photos) == ["a-cutout.png", "a.jpg", "b ü-cutout.png", "b ü.JPG"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("photos/a.jpg photos", "photos is a folder with pictures, an input or the output; .* write -o photos, and"),
        ("photos photos/b*.JPG missing.jpg", "there is no missing.jpg; expected a picture, a folder or a pattern, or"),
        ("photos/a.jpg out.tar", "there is no out.tar; expected a picture, a folder or a pattern"),
        ("photos/a.jpg out.tif", "-o out.tif is of a kind that is not written; expected .png"),
        ("photos/a.jpg none*.png", r"nothing fits none\*.png"),
        ("photos/a.jpg missing.jpg -o out", "there is no missing.jpg; expected a picture, a folder or a pattern"),
        ("photos/a.jpg missing.jpg out", "there is no missing.jpg"),
    ],
)
def test_a_last_name_that_may_be_a_mistake(
    arguments: str, message: str, photos: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {*here.rglob("*")}
    assert run(*arguments.split()) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    import re

    assert re.search(message, told)
    assert {*here.rglob("*")} == before


def test_the_default_model(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`trtmatte image photo.jpg` needs nothing else."""
    asked: list[Any] = []

    def build(model: str, **options: Any) -> Any:
        asked.append((model, options["size"]))
        return engines.memory()

    monkeypatch.setattr("trtmatte.cli.sessions.build", build)
    assert main.main(["image", str(photos / "a.jpg"), "--backend", "onnxruntime"]) == 0
    assert asked == [("rvm-mobilenetv3", (32, 24))]
    assert "the model is rvm-mobilenetv3" in capsys.readouterr().err
    with Image.open(photos / "a-cutout.png") as image:
        assert np.asarray(image).shape == (24, 32, 4)


@pytest.mark.parametrize(("length", "status"), [(230, 0), (244, 0), (251, 1)])
def test_long_names(length: int, status: int, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A name that fits is written; one that does not is told in a line."""
    long = photos / f"{'x' * (length - 4)}.jpg"
    (photos / "a.jpg").rename(long)
    assert run(long) == status
    if status:
        assert (
            "-cutout.png cannot be written: File name too long; choose another place for it" in capfd.readouterr().err
        )
    assert len(names(photos)) == (2 if status else 3)
