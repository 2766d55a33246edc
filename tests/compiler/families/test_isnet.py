"""IS-Net from checkpoints and from files: its own preparation, the map that is the result, and a real file."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
import torch

from tests import exports, reference
from tests.program_runner import StagedRunner
from trtmatte.compiler.families import catalog
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.source import completed, locate
from trtmatte.errors import ModelError, SettingError

SIZE = (96, 64)
PLAIN = {"divide_by_maximum": False, "stretch": False, "input_size": SIZE, "size": SIZE}
OUTPUTS = tuple(f"d{level}" for level in range(1, 7))


@pytest.fixture(scope="module")
def network():
    return reference.network("isnet")


@pytest.fixture(scope="module")
def exported(network):
    image = torch.zeros(1, 3, SIZE[1], SIZE[0])
    return exports.export(network, {"image": image}, OUTPUTS, 15, {}).SerializeToString()


@pytest.fixture
def file(exported):
    """A fresh model, since what happens to it happens in place."""
    return onnx.load_from_string(exported)


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(3).integers(0, 256, (1, 3, SIZE[1], SIZE[0]), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(network, frame):
    with torch.no_grad():
        return network(torch.from_numpy(frame / 255).float() - 0.5)[0].numpy()


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


def test_the_names_are_those_of_the_publication(network):
    """The stages of the publication, and in each: the convolution in front, then one for each level and back up."""
    heights = {"1": 7, "2": 6, "3": 5, "4": 4, "5": 4, "6": 4, "5d": 4, "4d": 4, "3d": 5, "2d": 6, "1d": 7}
    convolutions = {"conv_in"} | {f"side{level}" for level in range(1, 7)}
    units = {
        f"stage{stage}.rebnconv{unit}"
        for stage, height in heights.items()
        for unit in ["in", *map(str, range(1, height + 1)), *(f"{level}d" for level in range(1, height))]
    }
    names = {re.sub(r"\.[^.]*$", "", key) for key in network.state_dict()}
    assert names == convolutions | {f"{unit}.{part}" for unit in units for part in ("conv_s1", "bn_s1")}


@pytest.mark.parametrize("wrapped", ["", "net.", "module."])
def test_a_checkpoint(wrapped, network, frame, expected, tmp_path):
    state = {f"{wrapped}{key}": value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    model = importing.read(tmp_path / "weights.pth", **PLAIN)
    assert (cut(model)[0].family, cut(model)[0].variant) == ("isnet", "dis")
    pha = StagedRunner(model)(frame=frame)["pha"]
    assert reference.largest_difference(pha, expected) <= 2e-4


@pytest.mark.parametrize("treatment", ["all maps", "d1 alone", "d1 last", "renamed", "half, and in a wrong order"])
def test_a_file(treatment, file, frame, expected, tmp_path):
    maps = list(file.graph.output)
    if treatment.startswith("d1"):
        del file.graph.output[:]
        file.graph.output.extend(maps[:1] if treatment == "d1 alone" else maps[::-1])
    if treatment == "renamed":
        file = exports.renamed(file)
    if treatment.startswith("half"):
        file = in_halves(file)
    model = read(file, tmp_path, **PLAIN)
    assert cut(model)[0].family == "isnet"
    pha = StagedRunner(model)(frame=frame)["pha"]
    assert reference.largest_difference(pha, expected) <= (2e-2 if treatment.startswith("half") else 2e-4)


def in_halves(model):
    """The weights in float16, as converters leave a file: a Cast behind the picture, which stands at the end."""
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), tensor.name))
    for node in model.graph.node:
        node.input[:] = ["half" if name == "image" else name for name in node.input]
    for value in model.graph.output:
        node = next(each for each in model.graph.node if value.name in each.output)
        inner = f"{value.name}_half"
        node.output[:] = [inner if name == value.name else name for name in node.output]
        cast = onnx.helper.make_node("Cast", [inner], [value.name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    model.graph.node.append(onnx.helper.make_node("Cast", ["image"], ["half"], to=onnx.TensorProto.FLOAT16))
    return model


def test_the_default_preparation(file, frame, network, tmp_path):
    settings = {"size": SIZE, "input_size": SIZE}
    pha = StagedRunner(read(file, tmp_path, **settings))(frame=frame // 2)["pha"]
    with torch.no_grad():
        bright = torch.from_numpy((frame // 2) / (frame // 2).max()).float() - 0.5
        alpha = network(bright)[0].numpy()
    alpha = np.floor((alpha - alpha.min()) / (alpha.max() - alpha.min()) * 255) / 255
    assert np.abs(pha - alpha).max() <= 1.5 / 255  # a value near a step may fall on its other side
    assert np.abs(pha - alpha).mean() <= 1e-4


def test_mean_and_deviation(file, frame, network, tmp_path):
    given = {"mean": (0.4, 0.5, 0.6), "std": (0.9, 1.0, 1.1)}
    pha = StagedRunner(read(file, tmp_path, **PLAIN, **given))(frame=frame)["pha"]
    mean, std = (torch.tensor(given[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        alpha = network((torch.from_numpy(frame / 255).float() - mean) / std)[0].numpy()
    assert reference.largest_difference(pha, alpha) <= 2e-4


def test_logits_are_refused(file, tmp_path):
    """A file that ends before the sigmoids."""
    ends = {node.output[0]: node.input[0] for node in file.graph.node if node.op_type == "Sigmoid"}
    kept = [node for node in file.graph.node if node.op_type != "Sigmoid"]
    del file.graph.node[:]
    file.graph.node.extend(kept)
    for value in file.graph.output:
        value.name = ends[value.name]
    with pytest.raises(ModelError, match=r"none of its outputs .* is a map after its sigmoid"):
        read(file, tmp_path, **PLAIN)


def test_wrong_settings(file, tmp_path):
    with pytest.raises(SettingError, match=r"mean is \(1, 2\); expected three numbers"):
        read(file, tmp_path, size=SIZE, mean=(1, 2))
    with pytest.raises(SettingError, match="input_size is 64x64, but this ONNX file takes pictures of width 96"):
        read(file, tmp_path, size=SIZE, input_size=(64, 64))


def test_a_known_model_brings_its_settings(monkeypatch, file, tmp_path):
    """Nothing in a file says how its picture was normalised."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    anime = catalog.find("isnet-anime")
    source, options = locate(reference_file(file, tmp_path))
    assert completed(source, options) == {}
    known = type(source)(source.path, source.about, anime)
    assert completed(known, {})["mean"] == (0.485, 0.456, 0.406)
    assert completed(known, {"mean": (0, 0, 0)}, {"mean": None})["mean"] == (0, 0, 0)
    assert completed(known, {"family": "generic"}) == {"family": "generic"}


def reference_file(model, folder):
    onnx.save(model, folder / "any.onnx")
    return folder / "any.onnx"
