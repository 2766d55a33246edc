"""`--safe` on the commands: what files of strangers cannot do then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.compiler.building import shrinking
from tests.media import films
from trtmatte import api
from trtmatte.cli import build, sessions
from trtmatte.cli.main import main
from trtmatte.errors import SettingError

pytest.importorskip("av")
ENGINE = ("--engine", "tiny.trtm", "--backend", "onnxruntime")
COMMANDS = {
    "video": ("video", "in.mp4", "-o", "out.mp4", *ENGINE),
    "image": ("image", "in.png", "-o", "out.png", *ENGINE),
    "live": ("live", "--camera", "in.mp4", "--no-window", *ENGINE),
    "bench": ("bench", "--frames", "1", *ENGINE),
    "inspect": ("inspect", "tiny.trtm"),
}


@pytest.fixture
def here(here: Path) -> Path:
    """The current folder, with an engine, a film, a picture and two models."""
    films.film(here / "in.mp4", [films.picture(number, 32, 24) for number in range(3)])
    pytest.importorskip("PIL.Image").fromarray(films.picture(0, 32, 24)).save(here / "in.png")
    onnx.save(shrinking(), here / "whole.onnx")
    onnx.save(shrinking(), here / "split.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    return here


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flags", [[], ["--safe"]], ids=["", "safe"])
def test_commands_run(command: str, flags: list[str], here: Path, capsys: Any) -> None:
    if command == "live":
        pytest.importorskip("cv2")
    assert main([*COMMANDS[command], *flags]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", ["video", "image", "live", "bench"])
@pytest.mark.parametrize("is_safe", [False, True])
def test_engines_are_loaded_so(command: str, is_safe: bool, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(path: str, *, safe: bool) -> Any:
        seen.append(safe)
        raise SettingError("seen enough")

    monkeypatch.setattr(sessions, "load", load)
    assert main([*COMMANDS[command], *["--safe"][:is_safe]]) == 2
    assert seen == [is_safe]


@pytest.mark.parametrize("is_safe", [False, True])
def test_models_are_built_so(is_safe: bool, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def made(*_: object, safe: bool, **__: object) -> Any:
        seen.append(safe)
        raise SettingError("seen enough")

    monkeypatch.setattr(api, "build", made)
    monkeypatch.setattr(sessions, "build", made)
    flags = ["--safe"][:is_safe]
    assert build.main(["whole.onnx", *flags]) == 2
    assert main(["image", "in.png", "-o", "out.png", "--model", "whole.onnx", *flags]) == 2
    assert seen == [is_safe] * 2


def test_no_weights_in_other_files(here: Path, capsys: Any) -> None:
    for model, flags, status in (
        ("whole.onnx", ["--safe"], 0),
        ("split.onnx", [], 0),
        ("split.onnx", ["--safe"], 2),
    ):
        assert build.main([model, "--family", "generic", "--target", "onnxruntime", *flags]) == status, model
        assert main(["inspect", model, "--family", "generic", *flags]) == status, model
    assert capsys.readouterr().err.count("weights") >= 2


def test_exports_have_no_safe_mode(here: Path, capsys: Any) -> None:
    assert build.main(["whole.onnx", "--export", "onnx", "--safe"]) == 2
    assert (
        capsys.readouterr().err
        == "trtmatte-build: safe is for engines, and an export is built; leave one of them out\n"
    )
