"""Options: checked, completed, and what the targets make of them."""
# ruff: noqa: F811

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trtmatte
from tests.compiler.building import SMALL, files, no_sessions_left, official, own_cache, refusing, rtx, small  # noqa: F401
from trtmatte.backends import tensorrt
from trtmatte.compiler import build as compiler
from trtmatte.compiler import options
from trtmatte.errors import BackendError, DownloadError, ModelError, SettingError


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"size": "big"}, SettingError, "size is 'big'; expected width and height of at least 1, like 1920x1080"),
        ({"size": (0, 10)}, SettingError, r"size is \(0, 10\)"),
        ({"batch": 0}, SettingError, "batch is 0; expected a whole number"),
        ({"batch": True}, SettingError, "batch is True"),
        ({"precision": "fp8"}, SettingError, "precision is 'fp8'; expected fp16, fp32"),
        ({"export": "plam"}, SettingError, "export is 'plam'; expected plan, onnx, triton; did you mean plan"),
        ({"target": "tensort"}, SettingError, "did you mean tensorrt"),
        ({"export": "plan"}, SettingError, "makes no engine: use trtmatte-build --export .* or leave export out"),
        ({"dtype": "float32"}, SettingError, "dtype is given, but an engine leaves it to its sessions"),
        ({"family": "rwm"}, SettingError, "family is 'rwm'"),
        ({"colour": "red"}, SettingError, "no family has the setting colour; there are backbone_scale"),
        ({"mean": {"red": 1}}, SettingError, "mean is .*; expected a text, a number"),
        ({"out": "nowhere/e.trtm"}, SettingError, "no folder nowhere"),
        ({"out": "."}, SettingError, "is a folder"),
    ],
)
def test_wrong_options(
    wrong: dict[str, Any], error: type[Exception], message: str, small: Path, own_cache: Path
) -> None:
    with pytest.raises(error, match=message):
        trtmatte.build(small, **{**SMALL, **wrong})
    assert not files(own_cache)


def test_numbers_may_come_as_text() -> None:
    assert options.Options.of({"downsample_ratio": "0.25"}).settings == {"downsample_ratio": 0.25}
    assert options.Options.of({"downsample_ratio": "auto"}).settings == {"downsample_ratio": "auto"}


@pytest.mark.parametrize(
    ("given", "expected", "notices"),
    [
        ({"layout": "single"}, {"export": "plan"}, {"layout single": "export plan"}),
        ({"layout": "single", "export": "onnx"}, {"export": "onnx"}, {"layout single": "export plan"}),
        ({"layout": "staged"}, {}, {"layout staged": "the default"}),
        ({"axes": "CHW", "export": "onnx"}, {"layout": "CHW", "export": "onnx"}, {"axes": "layout"}),
        (
            {"layout": "single", "axes": "CHW"},
            {"layout": "CHW", "export": "plan"},
            {"layout single": "export plan", "axes": "layout"},
        ),
        (
            {"backdrop": "red", "export": "onnx"},
            {"background": "red", "export": "onnx"},
            {"backdrop": "background"},
        ),
    ],
    ids=str,
)
def test_old_words_work_with_a_notice(given: dict[str, Any], expected: dict[str, Any], notices: dict[str, str]) -> None:
    with pytest.warns(FutureWarning) as caught:
        found = options.Options.of(given)
    assert found == options.Options.of(expected)
    assert [str(each.message) for each in caught] == [
        f"{old} is now called {new}; the old name works in this release only" for old, new in notices.items()
    ]


def test_today_s_words_give_no_notice(recwarn: pytest.WarningsRecorder) -> None:
    chosen = options.Options.of({"export": "onnx", "layout": "CHW", "background": "red"})
    assert (chosen.export, chosen.form.layout, chosen.form.background) == ("onnx", "CHW", "red")
    assert not [each for each in recwarn if each.category is FutureWarning]


def test_none_is_left_out() -> None:
    assert options.Options.of(dict.fromkeys(("family", "size", "precision", "refine_mode"))) == options.Options()


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"there is no file rvm-mobilenet3, .* did you mean rvm-mobilenetv3"):
        trtmatte.build("rvm-mobilenet3")
    with pytest.raises(ModelError, match="is a folder; expected a model file"):
        trtmatte.build("/tmp")


def test_a_known_model_that_must_be_fetched_by_hand() -> None:
    with pytest.raises(DownloadError, match="bgmv2-resnet50 is not downloaded automatically"):
        trtmatte.build("bgmv2-resnet50")


def test_a_target_that_cannot_be_built_here(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tensorrt, "build_unavailable_reason", lambda target: f"{target} is not installed: pip install it"
    )
    with pytest.raises(BackendError, match=r"target tensorrt cannot be built here: .* pip install it"):
        trtmatte.build(small, **{**SMALL, "target": ["onnxruntime", "tensorrt"]})


def test_left_out_the_targets_are_what_can_be_built_here(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {key: value for key, value in SMALL.items() if key != "target"}
    monkeypatch.setattr(tensorrt, "targets_available", list)
    assert trtmatte.build(small, **given).manifest["settings"]["target"] == ["onnxruntime"]
    monkeypatch.undo()
    assert set(tensorrt.targets_available()) <= set(compiler._targets(()))


def test_a_target_that_cannot_build_this_model(
    small: Path, own_cache: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by name it is an error; left out, the engine says why there is no plan."""
    monkeypatch.setattr(tensorrt, "build_plan", refusing("it cannot"))
    with pytest.raises(BackendError, match="it cannot"):
        trtmatte.build(small, **{**SMALL, **rtx})
    assert not files(own_cache)
    engine = trtmatte.build(small, **{**SMALL, "target": None})
    assert engine.manifest["not_built"]["tensorrt-rtx"] == "it cannot"
    assert "tensorrt-rtx" not in engine.plans
