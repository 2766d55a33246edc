"""Files that ONNX Runtime's dynamic quantisation wrote: their convolutions become plain ones with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests import exports
from trtmatte.compiler.graph import reading

quantization = pytest.importorskip("onnxruntime.quantization")

FEED = {"image": np.random.default_rng(7).random((1, 3, 24, 32), dtype=np.float32)}


def network() -> torch.nn.Module:
    torch.manual_seed(5)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, 1, 2, dilation=2, groups=2, bias=False),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 1, 1),
    ).eval()


def quantised(folder: Path, *, per_channel: bool = False) -> Path:
    model = exports.export(network(), {"image": torch.from_numpy(FEED["image"])}, ["alpha"], 15)
    onnx.save(model, folder / "plain.onnx")
    out = folder / "quantised.onnx"
    kinds = {"op_types_to_quantize": ["Conv"], "weight_type": quantization.QuantType.QUInt8}
    quantization.quantize_dynamic(folder / "plain.onnx", out, per_channel=per_channel, **kinds)
    assert any(node.op_type == "ConvInteger" for node in onnx.load(out).graph.node)
    return out


def run(model: bytes) -> np.ndarray:
    (alpha,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, FEED)
    return np.asarray(alpha)


def test_convolutions_are_plain_again(tmp_path: Path) -> None:
    path = quantised(tmp_path)
    graph = reading.load(path)
    assert graph.kinds() == {"Conv", "Relu"}
    assert [len(node.input) for node in graph.all("Conv")] == [3, 2, 3], "the biases are the convolutions' own"
    plain, file, ours = (
        run(each) for each in (Path(tmp_path / "plain.onnx").read_bytes(), path.read_bytes(), serialised(graph))
    )
    assert np.abs(ours - plain).max() < 0.02 * np.ptp(plain), "weights of 8 bits"
    assert np.abs(ours - file).max() < 0.05 * np.ptp(plain), "the file rounds what its convolutions read as well"
    assert np.abs(ours - plain).mean() < np.abs(file - plain).mean()


def test_a_convolution_whose_scale_is_not_found_stays(tmp_path: Path) -> None:
    """It runs where the runtime has it."""
    path = quantised(tmp_path)
    model = onnx.load(path)
    (last,) = (node for node in model.graph.node if node.op_type == "ConvInteger" and "4" in node.name)
    (cast,) = (node for node in model.graph.node if node.op_type == "Cast" and node.input[0] == last.output[0])
    (scale,) = (node for node in model.graph.node if node.op_type == "Mul" and cast.output[0] in node.input)
    scale.op_type = "Div"
    onnx.save(model, path)
    graph = reading.load(path)
    assert len(graph.all("ConvInteger")) == 1
    assert np.array_equal(graph.constants[graph.all("ConvInteger")[0].input[1]].shape, (1, 8, 1, 1))


def serialised(graph: reading.Graph) -> bytes:
    return bytes(graph.model().SerializeToString())
