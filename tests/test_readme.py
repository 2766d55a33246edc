"""What README says can be typed is typed here, on files of the names that it gives them."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import trtmatte
from tests import real_models as models
from tests import reference
from trtmatte.cli import build
from trtmatte.cli import main as daily

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [text for text in re.findall(r"^\|[^|]*\| `(trtmatte[^`]*)`", README, re.MULTILINE) if "…" not in text]

# What a test has no time, no camera and no window for.
MORE = {
    "trtmatte-build": ["--target", "onnxruntime", "--quiet"],
    "trtmatte live": ["--camera", "film.mp4", "--no-window", "--frames", "3"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that README's commands read, small."""
    torch, av = pytest.importorskip("torch"), pytest.importorskip("av")
    from tests.compiler.families import test_generic, test_modnet

    place = tmp_path_factory.mktemp("readme")
    shutil.copy(models.model("rvm-mobilenetv3"), place / "rvm_mobilenetv3_fp32.onnx")
    shutil.copy(place / "rvm_mobilenetv3_fp32.onnx", place / "FILE")
    torch.save(reference.network("bgmv2_refine_mobilenetv2").state_dict(), place / "model.pth")
    onnx.save(test_modnet.official(), place / "modnet.onnx")
    onnx.save(test_generic.unknown(outputs=("alpha",)), place / "net.onnx")
    (place / "photos").mkdir()
    Image.fromarray(models.photograph()).resize((96, 96)).save(place / "photos" / "portrait.jpg")
    with av.open(str(place / "film.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height = 96, 64
        for _, picture in zip(range(5), models.clip(96, 64), strict=False):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        film.mux(stream.encode(None))
    return place


def typed(command, name):
    program, *arguments = shlex.split(command)
    more = MORE.get(program) or MORE.get(name, [])
    return (build.main if program == "trtmatte-build" else daily.main)([*arguments, *more])


def test_the_table_is_found():
    assert {command.split()[1] for command in COMMANDS if command.startswith("trtmatte ")} == {
        *("video", "image", "live", "inspect", "doctor")
    }
    assert sum(command.startswith("trtmatte-build") for command in COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert typed(command, " ".join(command.split()[:2])) == 0, capsys.readouterr().err
    written = re.search(r"-o (\S+)", command)
    if written:
        assert (folder / written[1]).exists()


def test_the_loop_in_python(folder, monkeypatch):
    """As it stands there, on frames of the film."""
    monkeypatch.chdir(folder)
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "trtmatte.build(" in block)
    frames = list(models.clip(96, 64))[:3]
    found: dict[str, Any] = {"frames": frames}
    exec(code, found)
    assert found["composite"].shape == frames[0].shape
    assert found["pha"].shape == (*frames[0].shape[:2], 1)


def test_links_lead_somewhere():
    for text in (ROOT, ROOT / "docs"):
        for page in text.glob("*.md"):
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
                assert (page.parent / target).exists(), f"{page.name} leads to {target}, which is not there"


def test_what_it_installs_is_offered():
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    asked = {name for names in re.findall(r"\.\[([\w,]+)\]", README) for name in names.split(",")}
    assert asked
    assert asked <= extras


def test_every_public_name_is_there():
    for name in ("build", "load", "Session", "Engine", "convert_video", "doctor", "families"):
        assert getattr(trtmatte, name)
