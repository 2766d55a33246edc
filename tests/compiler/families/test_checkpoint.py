"""Checkpoint files of every kind are read, recognised, or refused with a reason."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import reference
from trtmatte.compiler.families import networks as families
from trtmatte.compiler.families.checkpoint import load_network, load_state, recognise
from trtmatte.errors import ModelError

torch = pytest.importorskip("torch")

SMALL = "u2netp"


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    return reference.network(SMALL).state_dict()


def assert_same(state: dict[str, Any], expected: dict[str, Any]) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def prefixed(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + key: value for key, value in state.items()}


WRAPPERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plain": lambda s: s,
    "data parallel": lambda s: prefixed("module.", s),
    "compiled": lambda s: prefixed("_orig_mod.", s),
    "compiled and data parallel": lambda s: prefixed("module._orig_mod.", s),
    "training checkpoint": lambda s: {"epoch": 7, "state_dict": s, "optimizer": {"lr": 0.1}},
    "training checkpoint, model": lambda s: {"model": prefixed("module.", s), "best": 0.9},
    "lightning": lambda s: {"state_dict": prefixed("model.", s), "hyper_parameters": {"size": 320}},
    "double precision": lambda s: {k: v.double() if v.is_floating_point() else v for k, v in s.items()},
    "parameters": lambda s: {k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_weights(wrapper: str, legacy: bool, weights: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(WRAPPERS[wrapper](weights), path, _use_new_zipfile_serialization=not legacy)
    assert_same(load_state(path), weights)


def test_half_precision_becomes_single(weights: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model_fp16.pth"
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in weights.items()}, path)
    state = load_state(path)
    assert all(value.dtype == weights[key].dtype for key, value in state.items())
    torch.testing.assert_close(state["side1.weight"], weights["side1.weight"], rtol=1e-3, atol=1e-3)


def test_safetensors(weights: dict[str, Any], tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "model.safetensors"
    safetensors.save_file(weights, path)
    assert_same(load_state(path), weights)


def test_safetensors_not_installed(tmp_path: Path, weights: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "model.safetensors"
    safetensors.save_file({"side1.weight": weights["side1.weight"]}, path)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ModelError, match="pip install safetensors"):
        load_state(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(weights: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.torchscript"
    network = reference.network(SMALL)
    torch.jit.trace(network, torch.rand(1, 3, 32, 32)).save(str(path))
    assert_same(load_state(path), weights)
    assert load_network(path)[1] == SMALL


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frozen_torchscript_has_no_names(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pt"
    torch.jit.freeze(torch.jit.trace(torch.nn.Linear(2, 2).eval(), torch.rand(1, 2))).save(str(path))
    with pytest.raises(ModelError, match="frozen"):
        load_state(path)


def modnet(tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    state = reference.network("modnet").state_dict()
    path = tmp_path / "modnet.ckpt"
    torch.save(prefixed("module.", change(dict(state))), path)
    return path, state


@pytest.mark.parametrize("kept", ["both", "backbone.", "lr_branch.backbone."])
def test_modnets_backbone_may_stand_once_or_twice(kept: str, tmp_path: Path) -> None:
    dropped = {"both": "-", "backbone.": "lr_branch.backbone.", "lr_branch.backbone.": "backbone."}[kept]
    path, state = modnet(tmp_path, lambda s: {k: v for k, v in s.items() if not k.startswith(dropped)})
    assert_same(load_state(path), state)
    network, name = load_network(path)
    assert name == "modnet"
    assert_same(network.state_dict(), state)


def test_modnets_backbones_that_differ_are_refused(tmp_path: Path) -> None:
    key = "lr_branch.backbone.model.features.0.0.weight"
    path, _ = modnet(tmp_path, lambda s: {**s, key: s[key] + 1})
    with pytest.raises(ModelError, match="twice with different values"):
        load_state(path)


RECOGNISED = [
    *((name, name, {}) for name in families.names() if not name.startswith("matte_")),
    *((name, name.replace("matte", "bgmv2"), {}) for name in families.names() if name.startswith("matte_")),
    ("rvm_mobilenetv3", "rvm_mobilenetv3", {"refiner": "fast_guided_filter"}),
    ("rvm_resnet50", "rvm_resnet50", {"refiner": "fast_guided_filter"}),
    ("bgmv2_refine_mobilenetv2", "bgmv2_refine_mobilenetv2", {"refine_kernel_size": 1}),
    ("matte_refine_resnet101", "bgmv2_refine_resnet101", {"refine_kernel_size": 1}),
]


def meta_state(name: str, **options: Any) -> dict[str, Any]:
    with torch.device("meta"):
        return families.network(name, **options).state_dict()


@pytest.mark.parametrize(("name", "known_as", "options"), RECOGNISED)
def test_every_network_is_recognised(name: str, known_as: str, options: dict[str, Any]) -> None:
    state = meta_state(name, **options)
    assert recognise(state) == (known_as, options)
    without_counters = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert recognise(without_counters) == (known_as, options)


@pytest.mark.parametrize(("model", "options"), [("rvm_mobilenetv3", {"refiner": "fast_guided_filter"}), (SMALL, {})])
def test_a_loaded_network_computes_the_same(model: str, options: dict[str, Any], tmp_path: Path) -> None:
    network = reference.network(model, **options)
    path = tmp_path / "model.pth"
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, path)
    loaded, name = load_network(path)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    call = {"downsample_ratio": 0.5} if options else {}
    with torch.inference_mode():
        for ours, theirs in zip(loaded(image, **call), network(image, **call), strict=True):
            assert torch.equal(ours, theirs)
    assert name == model
    assert not loaded.training


def test_settings_pass_through(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(reference.network("bgmv2_refine_mobilenetv2", refine_kernel_size=1).state_dict(), path)
    network, name = load_network(path, refine_mode="full")
    assert name == "bgmv2_refine_mobilenetv2"
    assert network.refine_mode == "full"
    assert network.refiner.conv1.kernel_size == (1, 1)


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {name: value for name, value in state.items() if name != key}


ALMOST = [
    (
        "rvm_mobilenetv3",
        without("project_seg.conv.bias"),
        ["almost rvm_mobilenetv3", "1 missing: project_seg.conv.bias"],
    ),
    (
        "modnet",
        lambda s: {**s, "extra.weight": s["f_branch.conv_f.1.layers.0.bias"]},
        ["almost modnet", "1 unexpected: extra.weight"],
    ),
    (
        "bgmv2_refine_resnet50",
        lambda s: {**s, "refiner.conv4.weight": s["refiner.conv3.weight"]},
        ["almost bgmv2_refine_resnet50", "refiner.conv4.weight is [12, 22, 3, 3], not [4, 12, 3, 3]"],
    ),
    (
        "bgmv2_base_mobilenetv2",
        lambda s: {k: v for k, v in s.items() if "aspp" not in k},
        ["almost bgmv2_base_mobilenetv2", "…"],
    ),
    ("u2net", lambda s: {"a.weight": s["side1.weight"]}, ["no network that trtmatte knows", "ONNX"]),
]


@pytest.mark.parametrize(("model", "change", "says"), ALMOST)
def test_almost_a_match_says_what_differs(model: str, change: Any, says: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        recognise(change(meta_state(model)), "mine.pth")
    assert str(error.value).startswith("mine.pth ")
    for words in says:
        assert words in str(error.value)


class Code:
    """Unpickling this would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def saved(content: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, **options)


def truncated(**options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        torch.save({"a.weight": torch.ones(1000)}, path, **options)
        cut(path, 2000)

    return make


def truncated_safetensors(path: Path) -> None:
    pytest.importorskip("safetensors.torch").save_file({"a": torch.ones(1000)}, path)
    cut(path, 2000)


def with_value(key: str, index: int, value: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        state = reference.network(SMALL).state_dict()
        spoilt = state[key].clone()
        spoilt.view(-1)[index] = value
        torch.save({**state, key: spoilt}, path)

    return make


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "is no file"),
    "a folder": (lambda path: path.mkdir(), "is no file"),
    "zero bytes": (lambda path: path.write_bytes(b""), "is empty"),
    "truncated zip": (truncated(), "truncated or damaged"),
    "truncated legacy file": (truncated(_use_new_zipfile_serialization=False), "truncated or damaged"),
    "truncated safetensors": (truncated_safetensors, "truncated or damaged"),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><html>Google Drive</html>"), "web page"),
    "a Git LFS pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "text": (lambda path: path.write_text("hello, I am not a model"), "is not a checkpoint"),
    "an ONNX file": (lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x031.9:\x80\x01"), "suffix .onnx"),
    "a whole module": (lambda path: torch.save(torch.nn.Linear(2, 2), path), "torch.nn.modules.linear.Linear"),
    "a list": (saved([torch.ones(2)]), "holds a list"),
    "nothing": (saved({}), "holds no weights"),
    "nothing in a wrapper": (saved({"state_dict": {}}), "holds no weights"),
    "text among the weights": (saved({"a.weight": torch.ones(2), "note": "hi"}), "'note'"),
    "NaN": (with_value("stage3.rebnconv2.conv_s1.weight", 5, float("nan")), "stage3.rebnconv2.conv_s1.weight"),
    "infinity": (with_value("stage1.rebnconvin.bn_s1.running_var", 0, float("inf")), "1 of 64 values"),
    "another network": (saved({"fc.weight": torch.ones(3, 4)}), "no network that trtmatte knows"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused(case: str, tmp_path: Path) -> None:
    make, says = BROKEN[case]
    path = tmp_path / "broken.pth"
    make(path)
    with pytest.raises(ModelError, match=says) as error:
        load_network(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_does_not_run(kind: str, tmp_path: Path) -> None:
    path, witness = tmp_path / "evil.pth", tmp_path / "ran"
    content = {"state_dict": {"a.weight": torch.ones(2)}, "hook": Code(witness)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"hook": Code(witness)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ModelError, match=r"wants to call \w+\.mkdir"):
        load_state(path)
    assert not witness.exists()
