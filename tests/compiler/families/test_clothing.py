"""U-2-Net for clothing: the alpha of all clothes or of one kind, from checkpoints and files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from tests import exports, reference
from tests.program_runner import StagedRunner
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph.cut import cut
from trtmatte.errors import ModelError, SettingError

SIZE = (96, 64)
PLAIN = {"divide_by_maximum": False, "input_size": SIZE, "size": SIZE}
OUTPUTS = tuple(f"d{level}" for level in range(7))
MEAN, STD = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def network():
    return reference.network("u2net_cloth")


@pytest.fixture(scope="module")
def exported(network):
    image = torch.zeros(1, 3, SIZE[1], SIZE[0])
    return exports.export(network, {"image": image}, OUTPUTS, 11, {}).SerializeToString()


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(4).integers(0, 256, (1, 3, SIZE[1], SIZE[0]), dtype=np.uint8)


@pytest.fixture(scope="module")
def probabilities(network, frame):
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    with torch.no_grad():
        logits = network((torch.from_numpy(frame / 255).float() - mean) / std)[0]
    return torch.softmax(logits, 1).numpy()


def file(exported, folder):
    (folder / "model.onnx").write_bytes(exported)
    return folder / "model.onnx"


@pytest.mark.parametrize(("garment", "place"), [("all", 0), ("upper", 1), ("lower", 2), ("full", 3)])
def test_a_file(garment, place, exported, frame, probabilities, tmp_path):
    model = importing.read(file(exported, tmp_path), garment=garment, **PLAIN)
    assert cut(model)[0].variant == "u2net_cloth"
    assert cut(model)[0].settings["garment"] == garment
    expected = probabilities[:, place : place + 1]
    pha = StagedRunner(model)(frame=frame)["pha"]
    assert reference.largest_difference(pha, 1 - expected if garment == "all" else expected) <= 2e-4


def test_a_checkpoint(network, frame, probabilities, tmp_path):
    torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "weights.pth")
    model = importing.read(tmp_path / "weights.pth", garment="lower", **PLAIN)
    pha = StagedRunner(model)(frame=frame)["pha"]
    assert reference.largest_difference(pha, probabilities[:, 2:3]) <= 2e-4


def test_the_originals_clothes(tmp_path):
    vector = reference.load("cloth-odd")
    torch.save(reference.network("u2net_cloth").state_dict(), tmp_path / "weights.pth")
    settings = {"size": (93, 77), "input_size": (93, 77), "divide_by_maximum": False, "garment": "lower"}
    model = importing.read(tmp_path / "weights.pth", **settings)
    expected = torch.softmax(torch.from_numpy(vector.arrays["d0"]), 1)[:, 2:3].numpy()
    assert reference.largest_difference(StagedRunner(model)(frame=vector.arrays["src"])["pha"], expected) <= 2e-4


def test_its_own_size(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = importing.read(tmp_path / "weights.pth", size=(640, 480))
    assert cut(model)[0].settings["input_size"] == [768, 768]
    assert cut(model)[0].settings["stretch"] is False


def test_garments_of_other_networks(tmp_path):
    torch.save(reference.network("u2netp").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SettingError, match="garment is 'upper', but this is no network for clothing"):
        importing.read(tmp_path / "weights.pth", size=SIZE, garment="upper")


def test_an_unknown_garment(exported, tmp_path):
    with pytest.raises(SettingError, match="garment is 'shoes'; expected one of all, upper, lower, full"):
        importing.read(file(exported, tmp_path), size=SIZE, garment="shoes")


def test_a_file_without_the_fusion(exported, tmp_path):
    model = onnx.load_from_string(exported)
    del model.graph.output[0]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"the fusion of its side maps \(d0\) is none of its outputs"):
        importing.read(tmp_path / "model.onnx", size=SIZE)
