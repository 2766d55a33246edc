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
from trtmatte.compiler import options, plans
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
        ({"colour": "red"}, SettingError, "generic has no setting colour; it has input_size"),
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


def test_none_is_left_out() -> None:
    assert options.Options.of(dict.fromkeys(("family", "size", "precision", "refine_mode"))) == options.Options()


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"there is no file rvm-mobilenet3, .* did you mean rvm-mobilenetv3"):
        trtmatte.build("rvm-mobilenet3")
    with pytest.raises(ModelError, match="is a folder; expected a model file"):
        trtmatte.build("/tmp")


def test_a_known_model_that_must_be_fetched_by_hand() -> None:
    with pytest.raises(DownloadError, match="bgmv2-resnet50 is not fetched automatically"):
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


def test_plans_in_both_precisions(small: Path, rtx: dict[str, Any]) -> None:
    for precision, dtype in (("fp16", "float16"), ("fp32", "float32")):
        engine = trtmatte.build(small, **{**SMALL, **rtx}, precision=precision)
        ((_, info),) = engine.plans["tensorrt-rtx"].items()
        assert {kind for kind, *_ in info["networks"]["network-0"]["inputs"].values()} == {dtype}


def test_an_engine_gets_a_plan_later_once(small: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = trtmatte.build(small, **SMALL)
    more = plans.completed(engine, "tensorrt-rtx")
    check = more.plans["tensorrt-rtx"]
    assert len(check) == 1
    assert more.network("network-0") == engine.network("network-0")
    monkeypatch.setattr(tensorrt, "build_plan", refusing("it was to be taken from the cache"))
    assert plans.completed(engine, "tensorrt-rtx").plans["tensorrt-rtx"] == check
