"""Recipes of strangers: whatever is in one, it ends in one line."""
# ruff: noqa: F811

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trtmatte
from tests.compiler.building import SMALL, official, own_cache, small  # noqa: F401
from trtmatte.cli import build
from trtmatte.compiler.families import registry
from trtmatte.errors import ModelError, SettingError

RECIPES = {
    "nested lists": ("a = " + "[" * 10_000, "is nested too deep"),
    "closed lists": ("mean = " + "[" * 2000 + "]" * 2000, "is nested too deep"),
    "nested tables": ("a = " + "{a = " * 3000, "is nested too deep"),
    "a table": ("[" + "a." * 300 + "b]", "has the table 'a'"),
    "tables": ("[[a]]\nb = 1", "expected a text, a number"),
    "long": ("a = '" + "a" * 20_000 + "'", "has more than 16384 bytes"),
    "a date": ("size = 1979-05-27", "size is datetime.date"),
    "a time": ("batch = 07:32:00", "batch is datetime.time"),
    "endless": ("batch = inf", "batch is inf; expected a whole number"),
    "many digits": ("batch = " + "9" * 5000, "is not TOML"),
    "fewer digits": ("batch = " + "9" * 400, "expected a whole number of streams, 1…65536"),
    "a long side": ("size = '" + "9" * 5000 + "x1'", "expected width and height"),
    "a side too long": ("size = [65537, 1]", "at most 65536"),
    "a number for words": ("target = 3", "target is 3; expected a word, or several"),
    "lists for words": ("target = [['onnxruntime']]", "expected a word, or several"),
    "a number for a name": ("family = 3", "family is 3; expected the name of one"),
    "an unknown key": ("frobnicate = 1", "no family has the setting frobnicate"),
    "what a caller decides": ("safe = false", "no family has the setting safe"),
    "arguments of a function": ("path = 'x'", "no family has the setting path"),
    "a private name": ("__class__ = 1", "no family has the setting __class__"),
    "an escape sequence": ('"\\u001b[31m" = 1', r"no family has the setting \x1b[31m"),
}


@pytest.mark.parametrize("what", RECIPES)
def test_recipes(what: str, small: Path, own_cache: Path, tmp_path: Path, capsys: Any) -> None:
    text, message = RECIPES[what]
    (tmp_path / "e.toml").write_text(f"model = '{small}'\n{text}", "utf-8")
    assert build.main([str(tmp_path / "e.toml")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("3", "has the model 3; expected a line like"),
        ("''", "has the model ''"),
        ("'" + "n" * 300 + "'", "has a model that cannot be found: File name too long"),
        ('"a\\u0000b"', "there is no file"),
        ("'../none.onnx'", "there is no file"),
        ("'/'", "is a folder"),
        ("'e.toml'", ""),  # itself
    ],
)
def test_models(model: str, message: str, own_cache: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "e.toml").write_text(f"model = {model}\n", "utf-8")
    assert build.main([str(tmp_path / "e.toml")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("rvm", {"downsample_ratio": float("nan")}, "downsample_ratio is nan; expected a number or a word"),
        ("rvm", {"downsample_ratio": (0.25, 0.5)}, r"downsample_ratio is \(0.25, 0.5\); expected a number or a word"),
        ("rvm", {"downsample_ratio": 10**400}, "expected a number or a word"),
        ("rvm", {"segmentation": 1}, "segmentation is 1; expected true or false"),
        ("bgmv2", {"backbone_scale": "half"}, "backbone_scale is 'half'; expected a number"),
        ("bgmv2", {"refine_sample_pixels": 80_000.5}, "expected a whole number"),
        ("bgmv2", {"refine_sample_pixels": True}, "expected a whole number"),
        ("bgmv2", {"refine_threshold": float("inf")}, "expected a number"),
        ("bgmv2", {"refine_mode": 3}, "refine_mode is 3; expected a word"),
        ("generic", {"mean": (10**400, 0, 0)}, "expected three numbers"),
        ("generic", {"std": "white"}, "expected three numbers"),
        ("generic", {"method": 1}, "method is 1; expected a word"),
        ("u2net", {"stretch": "yes"}, "stretch is 'yes'; expected true or false"),
    ],
)
def test_kinds_of_settings(family: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        registry.family(family).checked(settings)


def test_in_safe_mode_the_model_lies_beside_the_recipe(small: Path, own_cache: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe" / "e.toml"
    recipe.parent.mkdir()
    (tmp_path / "outside.onnx").write_bytes(small.read_bytes())
    (recipe.parent / "beside.onnx").write_bytes(small.read_bytes())
    (recipe.parent / "link.onnx").symlink_to(small)
    recipe.write_text("model = 'beside.onnx'")
    built = trtmatte.build(recipe, safe=True, **SMALL)
    for foreign in ("../outside.onnx", str(tmp_path / "outside.onnx"), "link.onnx"):
        recipe.write_text(f"model = '{foreign}'")
        assert trtmatte.build(recipe, **SMALL).program == built.program
        with pytest.raises(ModelError, match=rf"names .*{foreign}; expected a file beside it, or a known model"):
            trtmatte.build(recipe, safe=True, **SMALL)


def test_a_name_in_a_recipe_is_no_file_of_the_current_folder(
    small: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe" / "e.toml"
    recipe.parent.mkdir()
    here = tmp_path / "here" / "folder"
    here.mkdir(parents=True)
    for place in (here, here.parent):
        (place / "model").write_bytes(small.read_bytes())
    monkeypatch.chdir(here)
    for foreign in ("model", "../model"):
        recipe.write_text(f"model = '{foreign}'")
        for safe in (False, True):
            with pytest.raises(ModelError, match=f"there is no file {foreign}, and "):
                trtmatte.build(recipe, safe=safe, **SMALL)
