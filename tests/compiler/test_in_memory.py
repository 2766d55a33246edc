"""Networks of PyTorch as models: they are built from memory, as their files are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trtmatte
from tests import reference
from trtmatte.api import Engine
from trtmatte.compiler.families.bgmv2.network import settings_of
from trtmatte.compiler.in_memory import Weights
from trtmatte.errors import ModelError, SettingError

torch = pytest.importorskip("torch")

SMALL = "u2netp"
FORM: dict[str, Any] = {"input_size": (64, 64), "size": (64, 48), "target": "onnxruntime"}


@pytest.fixture(scope="module")
def network() -> Any:
    return reference.network(SMALL)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))


def networks_of(engine: Engine) -> dict[str, bytes]:
    return {name: engine.network(name) for name in (stage.name for stage in engine.program.networks)}


def test_the_engine_is_that_of_the_file(network: Any, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "model.pth")
    from_file = networks_of(trtmatte.build(tmp_path / "model.pth", **FORM))
    for model in (network, network.state_dict(), torch.nn.DataParallel(network), network.train()):
        engine = trtmatte.build(model, **FORM)
        assert networks_of(engine) == from_file
    assert engine.manifest["source"]["file"] == "U2Net"
    network.eval()


def test_the_original_class_and_other_forms(network: Any) -> None:
    """The class does not matter, nor do precision and wrappers: the weights decide."""

    original = torch.nn.Module()
    for name, child in network.named_children():
        original.add_module(name, child)
    plain = Weights.of(network)
    assert Weights.of(original).about == {**plain.about, "file": "Module"}
    assert Weights.of(torch.nn.DataParallel(network)).about == plain.about
    doubled = {key: value.double() if value.is_floating_point() else value for key, value in plain.state.items()}
    assert Weights.of(doubled).about["sha256"] == plain.about["sha256"]
    changed = {key: value + 1 if key.endswith("bias") else value for key, value in plain.state.items()}
    assert Weights.of(changed).about["sha256"] != plain.about["sha256"]


def test_settings_that_a_network_holds() -> None:
    ours = reference.network("bgmv2_refine_mobilenetv2", backbone_scale=0.5, refine_mode="full")
    held = {
        "backbone_scale": 0.5,
        "refine_mode": "full",
        "refine_sample_pixels": 80_000,
        "refine_threshold": 0.1,
        "prevent_oversampling": True,
    }
    assert Weights.of(ours).settings == held
    refiner = SimpleNamespace(mode="full", sample_pixels=80_000, threshold=0.1, prevent_oversampling=True)
    original: Any = SimpleNamespace(backbone_scale=0.5, refiner=refiner)
    assert settings_of(original) == held
    assert Weights.of(ours.state_dict()).settings == {}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "the model is 3; expected a file, the name of a known model, a PyTorch network or its state_dict"),
        (torch.nn.Linear(2, 3), "Linear holds the weights of no network that trtmatte knows"),
        ({}, "the state_dict holds no weights"),
        ({"a": 3}, "the state_dict holds a int under 'a' where a tensor is expected"),
    ],
)
def test_what_is_no_network(model: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        trtmatte.build(model)


def test_a_network_without_weights(network: Any) -> None:
    with torch.device("meta"):
        empty = {key: torch.empty_like(value, device="meta") for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match="is on the device meta, which holds no weights"):
        trtmatte.build(empty)


def test_another_family(network: Any) -> None:
    with pytest.raises(ModelError, match="U2Net has the weights of u2netp, not of the family rvm"):
        trtmatte.build(network, family="rvm", size=(64, 48))


def test_an_export_takes_files(network: Any) -> None:
    with pytest.raises(SettingError, match=r"save model.state_dict\(\) and pass the file"):
        trtmatte.export(network, "onnx", out="a.onnx")
