"""What README says can be typed is typed here, on files of the names that it gives them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
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
    "trtmatte live --model-type": ["--plate", "plate.png"],
    "trtmatte serve": ["--port", "0"],
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
    torch.save(reference.network("rvm_mobilenetv3").state_dict(), place / "rvm_mobilenetv3.pth")
    portrait = Image.fromarray(models.photograph()).resize((96, 96))
    for name in ("photos/portrait.jpg", "plates/portrait.png", "test_data/test_images/portrait.jpg", "photo.jpg"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        portrait.save(place / name)
    portrait.resize((96, 64)).save(place / "plate.png")
    for name in ("truth/portrait.png", "result/portrait.jpg"):
        (place / name).parent.mkdir()
        portrait.convert("L").save(place / name)
    with av.open(str(place / "film.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height = 96, 64
        for _, picture in zip(range(5), models.clip(96, 64), strict=False):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        film.mux(stream.encode(None))
    return place


def typed(command):
    if " - " in command:
        return piped(command)
    program, *arguments = shlex.split(command)
    more = [flag for begin, flags in MORE.items() if f"{command} ".startswith(f"{begin} ") for flag in flags]
    return (build.main if program == "trtmatte-build" else daily.main)([*arguments, *more])


def piped(command):
    """With pictures or raw frames on standard input, in a shell."""
    frames = b"".join(
        np.ascontiguousarray(frame).tobytes() for _, frame in zip(range(3), models.clip(96, 64), strict=False)
    )
    here = shlex.join([sys.executable, "-m", "trtmatte.cli.main"])
    ran = subprocess.run(command.replace("trtmatte", here, 1), shell=True, input=frames, stderr=subprocess.PIPE)
    print(ran.stderr.decode(), file=sys.stderr)
    return ran.returncode


def written_by(command):
    """The files and folders that the command names as its outputs."""
    found = re.findall(
        r"(?: -o|--output-dir|--output-path|--output-(?:composition|alpha|foreground)|>)[ =](\S+)", command
    )
    found += re.findall(r"^trtmatte image (?:-\S+ (?:\d+ )*)?[\w.]+ ([\w.]+)", command)
    return found + (["film_fg.mp4"] if "--result-type" in command else [])


def test_the_table_is_found():
    assert {command.split()[1] for command in COMMANDS if command.startswith("trtmatte ")} == {
        *("video", "image", "live", "serve", "inspect", "bench", "compare", "doctor")
    }
    assert sum(command.startswith("trtmatte-build") for command in COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    if " -w " in command:
        stop_after_the_first_picture(monkeypatch)
    if command.startswith("trtmatte serve"):
        stop_when_it_is_ready(monkeypatch)
    assert typed(command) == 0, capsys.readouterr().err
    for place in written_by(command):
        assert (folder / place).exists(), place


def stop_after_the_first_picture(monkeypatch):
    from trtmatte.apps import watching

    write = watching.write  # type: ignore[attr-defined]

    def write_and_stop(*args):
        write(*args)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(watching, "write", write_and_stop)


def stop_when_it_is_ready(monkeypatch):
    site = pytest.importorskip("trtmatte.serve.site")
    warm_up = site.Site.warm_up

    def warm_up_and_stop(self):
        warm_up(self)
        assert not self._not_ready
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(site.Site, "warm_up", warm_up_and_stop)


def test_every_project_is_there_and_no_row_is_partly():
    rows = re.findall(
        r"^\| (.*) \| (.*) \|$", README[README.index("## Coming from") : README.index("## In Python")], re.M
    )
    habits = [habit for habit, _ in rows[1:]]
    for name in ("RVM", "BackgroundMattingV2", "MODNet", "U-2-Net", "rembg"):
        assert any(name in habit for habit in habits)
    assert all(
        re.fullmatch(r"`trtmatte[^`]*`", command) for habit, command in rows if not habit.startswith(("you", "--"))
    )
    assert {command.strip("`") for _, command in rows if "`" in command} <= set(COMMANDS)


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
