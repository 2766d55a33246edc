"""Recipes: those of engines/, and what is wrong with others."""
# ruff: noqa: F811

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import trtmatte
from tests.compiler.building import (  # noqa: F401
    CPU,
    RECIPES,
    check_plans,
    checkpoints,
    no_sessions_left,
    official,
    own_cache,
    program,
    rtx,
    small,
)
from trtmatte.api import load
from trtmatte.compiler import build as compiler
from trtmatte.compiler import plans
from trtmatte.compiler.families import catalog
from trtmatte.errors import ModelError, SettingError

STAND_INS = {
    "rvm-mobilenetv3": "rvm_mobilenetv3",
    "bgmv2-resnet50": "bgmv2_refine_resnet50",
    "modnet-photographic": "modnet",
    "u2net": "u2net",
    "u2netp": "u2netp",
}

SEEN = {  # by the network, width and height
    "rvm-hd": (480, 270),
    "rvm-hd-fullbody": (768, 432),
    "rvm-4k": (480, 270),
    "rvm-4k-fullbody": (768, 432),
    "bgmv2-hd": (480, 270),
    "bgmv2-4k": (480, 270),
    "modnet": (896, 512),
    "u2net": (320, 320),
    "u2netp": (320, 320),
}


def local(recipe: Path, checkpoints: Any, folder: Path) -> Path:
    """The recipe with weights that are here in the place of those that are not."""
    text = recipe.read_text()
    model = re.search(r'^model = "(.*)"$', text, re.MULTILINE)[1]
    assert catalog.find(model)
    path = folder / recipe.name
    (folder / "weights.pth").symlink_to(checkpoints(STAND_INS[model]))
    path.write_text(text.replace(f'"{model}"', '"weights.pth"'))
    return path


def test_all_recipes_are_known() -> None:
    assert {path.stem for path in RECIPES} == set(SEEN)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds(recipe: Path, checkpoints: Any, tmp_path: Path) -> None:
    """For the CPU, and for TensorRT-RTX where it is installed."""
    path = local(recipe, checkpoints, tmp_path)
    targets = [target for target in ("onnxruntime", "tensorrt-rtx") if target in compiler._targets(())]
    started = time.monotonic()
    trtmatte.build(path, out=path.with_suffix(".trtm"), target=targets)
    seconds = time.monotonic() - started
    engine = load(path.with_suffix(".trtm"))
    engine.verify()
    sample = next(stage for stage in engine.program.stages if getattr(stage, "op", "") == "FrameSample")
    assert (sample.attributes["width"], sample.attributes["height"]) == SEEN[recipe.stem]
    assert engine.program.size == ((3840, 2160) if "4k" in recipe.stem else (1920, 1080))
    assert engine.program.capacity == {"bgmv2-hd": 5000, "bgmv2-4k": 20000}.get(recipe.stem, 0)
    if "tensorrt-rtx" in targets:
        check_plans(engine, "tensorrt-rtx")
        assert recipe.stem != "rvm-hd" or seconds < 30


@pytest.mark.parametrize("mode", ["sampling", "thresholding"])
def test_patches_have_bounds(mode: str, checkpoints: Any, rtx: dict[str, Any]) -> None:
    path = checkpoints("bgmv2_refine_mobilenetv2")
    engine = trtmatte.build(path, size=(1920, 1080), refine_mode=mode, **rtx)
    check_plans(engine, "tensorrt-rtx")
    first, last = engine.program.networks
    assert plans._bounds(engine.program, first) is None
    smallest, usual, largest = plans._bounds(engine.program, last)["half"]
    assert (smallest, usual) == ([1, 42, 8, 8], [5000, 42, 8, 8])
    assert largest == [5000 if mode == "sampling" else plans.LARGEST_PIECE, 42, 8, 8]


def write_recipe(folder: Path, text: str) -> Path:
    path = folder / "a.toml"
    path.write_text(text)
    return path


def test_a_recipe_s_names_have_dashes_or_underscores(small: Path, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(small.read_bytes())
    common = 'model = "small.onnx"\nfamily = "generic"\nsize = [64, 48]\ntarget = ["onnxruntime"]\n'
    dashes = trtmatte.build(write_recipe(tmp_path, common + 'input-size = "16x16"\nmean = [0.5, 0.5, 0.5]'))
    underscores = trtmatte.build(write_recipe(tmp_path, common + "input_size = [16, 16]\nmean = [0.5, 0.5, 0.5]"))
    assert dashes.manifest == underscores.manifest
    assert dashes.manifest["settings"]["mean"] == [0.5, 0.5, 0.5]


def test_what_is_asked_for_is_stronger_than_the_recipe(small: Path, tmp_path: Path) -> None:
    text = f'model = "{small}"\nfamily = "generic"\nsize = "64x48"\ntarget = "tensorrt"'
    engine = trtmatte.build(write_recipe(tmp_path, text), size="32x24", **CPU)
    assert engine.program.size == (32, 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "is not TOML"),
        ("size = '64x48'", "has the model None; expected a line like model = 'rvm-mobilenetv3'"),
        ("model = 3", "has the model 3"),
        ("model = 'rvm-mobilenetv3'\n[rvm]\na = 1", "has the table 'rvm'"),
        ("model = 'rvm-mobilenetv3'\nsize = 1920", "size is 1920; expected width and height"),
        ("model = 'rvm-mobilenetv3'\nsize = 2026-01-01", "size is datetime"),
        ("model = 'rvm-mobilenetv3'\ntarget = 'rtx'", "target is 'rtx'; expected onnxruntime, tensorrt, tensorrt-rtx"),
        ("model = 'rvm-mobilenetv4'", "did you mean rvm-mobilenetv3"),
        ("model = 'weights.pth'", "there is no file .*weights.pth"),
    ],
)
def test_wrong_recipes(text: str, message: str, official: Path, own_cache: Path, tmp_path: Path) -> None:
    (own_cache / "models").mkdir(parents=True)
    (own_cache / "models" / official.name).symlink_to(official)
    with pytest.raises((SettingError, ModelError), match=message):
        trtmatte.build(write_recipe(tmp_path, text))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"the recipe .*a.toml cannot be read: No such file"):
        trtmatte.build(tmp_path / "a.toml")


def test_recipes_without_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(SettingError, match="pip install tomli"):
        trtmatte.build(write_recipe(tmp_path, "model = 'a'"))
