"""`trtmatte bench NETWORK`: any ONNX network, and the models of the families, before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtmatte.cli import main
from trtmatte.reports import before_after

pytest.importorskip("torch")

import torch

from tests import exports, reference


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main.main(["bench", *map(str, arguments), "--frames", "3"])
    told = capsys.readouterr()
    return status, told.out, told.err


def value(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any) -> Path:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """As a ResNet-50 is: the input `data` of (N,3,224,224), the output of 10 classes."""
    weights = np.random.default_rng(0).standard_normal((10, 3, 7, 7)).astype(np.float32)
    return save(
        tmp_path / "my resnet.onnx",
        [
            helper.make_node("Conv", ["data", "w"], ["maps"], strides=[4, 4]),
            helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["classes"]),
        ],
        [value("data", ["N", 3, 224, 224])],
        [value("classes", ["N", 10])],
        w=weights,
    )


def test_a_network_of_no_family(classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, classifier)
    assert (status, err) == (0, "")
    assert "data 1x3x224x224 float32" in out
    assert "before" in out
    assert "p90 ms" in out
    assert "ONNX Runtime with its defaults" in out
    assert "the outputs differ by" in out


def test_json(classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, classifier, "--shape", "data=2x3x224x224", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["about"].endswith("data 2x3x224x224 float32")
    assert found["runs"] == 3
    assert found["difference"] < 1e-4
    for side in ("before", "after"):
        ms = found[side]["ms"]
        assert 0 < ms["p50"] <= ms["p90"] <= ms["p99"]
    assert found["ratio"] > 0


def test_several_inputs_of_several_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(
        tmp_path / "words.onnx",
        [
            helper.make_node("Gather", ["table", "ids"], ["words"]),
            helper.make_node("Cast", ["mask"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["numbers", "axis"], ["column"]),
            helper.make_node("Mul", ["words", "column"], ["masked"]),
        ],
        [value("ids", ["batch", "length"], TensorProto.INT64), value("mask", ["batch", "length"], TensorProto.BOOL)],
        [value("masked", ["batch", "length", 4])],
        table=np.arange(8, dtype=np.float32).reshape(2, 4),
        axis=np.array([2], np.int64),
    )
    status, out, _ = run(capsys, path, "--shape", "ids=2x7", "--shape", "mask=2x7")
    assert status == 0
    assert "ids 2x7 int64, mask 2x7 bool" in out


def test_nodes_in_a_wrong_order(classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(str(classifier))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, classifier)
    assert run(capsys, classifier)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shape", "picture=1x3x224x224"], "has no input picture; it has data"),
        (["--shape", "data=1x3x224"], "the shape of data is 1x3x224; the model expects Nx3x224x224"),
        (["--shape", "data=1x3x32x32"], "the shape of data is 1x3x32x32; the model expects Nx3x224x224"),
        (["--shape", "data=99999x3x224x224"], "give a smaller --shape"),
        (["--backend", "tensorrt"], "is timed on the CPU, with"),
        (["--device", "cuda"], "device is cuda"),
        (["--engine", "a.trtm"], "leave one of them out"),
        (["--safe"], "unchecked; give --model in its place"),
    ],
)
def test_wrong_flags(arguments: list[str], says: str, classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, classifier, *arguments)
    assert status in (1, 2)
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["data", "data=", "=1x3", "data=1x0", "data=1xtwo", "data=1x-3"])
def test_a_shape_that_is_none(text: str, classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(capsys, classifier, "--shape", text)
    assert "expected NAME=SIZES, such as data=1x3x224x224" in capsys.readouterr().err


def test_open_dimensions_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [value("x", ["N", "C", "H", 64])],
        [value("y", ["N", "C", "H", 64])],
    )
    status, _, err = run(capsys, path)
    assert status == 2
    assert "the input x has the open shape NxCxHx64; say it: --shape x=1x224x224x64" in err
    assert run(capsys, path, "--shape", "x=1x2x3x64")[0] == 0


def test_a_network_that_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", [1, 5])],
        [value("y", None)],
        shape=np.array([3, 4], np.int64),
    )
    status, _, err = run(capsys, path)
    assert status == 1
    assert f"ONNX Runtime cannot run {path}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x08garbage"])
def test_files_that_are_no_network(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    status, out, err = run(capsys, path)
    assert (status, out) == (2, "")
    assert "net.onnx" in err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, tmp_path / "net.onnx")[0] == 2


# ---------------------------------------------------------------------------------------------------------------------
# Models of the families

CHECKPOINTS = {
    "rvm_mobilenetv3": ["--downsample-ratio", "0.5"],
    "bgmv2_refine_mobilenetv2": ["--refine-sample-pixels", "1600"],
    "modnet": [],
    "u2netp": ["--input-size", "64x64"],
}


@pytest.mark.parametrize("model", CHECKPOINTS)
def test_a_checkpoint_runs_in_pytorch(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pth"
    torch.save(reference.network(model).state_dict(), path)
    status, out, _ = run(capsys, path, "--size", "128x96", *CHECKPOINTS[model], "--device", "cpu")
    assert status == 0
    assert "frames of 128x96" in out
    assert "PyTorch, eager, float32 on the CPU" in out
    assert "after:  from the uint8 frame to the uint8 composite over a colour" in out


def test_an_onnx_file_of_a_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(exports.rvm(reference.network("rvm_mobilenetv3")), tmp_path / "model.onnx")
    status, out, _ = run(capsys, tmp_path / "model.onnx", "--size", "128x96", "--device", "cpu", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["before"]["runs_on"] == "ONNX Runtime with its defaults, float32 on the CPU"
    assert "session.run of the file as it is" in found["before"]["holds"]
    assert found["difference"] is None


@pytest.mark.parametrize("model", ["rvm_mobilenetv3", "bgmv2_refine_mobilenetv2", "modnet", "u2netp"])
def test_both_sides_make_the_same_composite(model: str, tmp_path: Path) -> None:
    """So the loop that is timed is the whole of what the engine replaces."""
    import trtmatte
    from trtmatte.reports import matting
    from trtmatte.reports.profile import generated_frames

    path = tmp_path / "model.pth"
    torch.save(reference.network(model).state_dict(), path)
    size = (672, 512) if model == "modnet" else (128, 96)  # MODNet sees enlarged pictures, each library its own
    engine = trtmatte.build(path, size=size, target="onnxruntime")
    frame, plate = (generated_frames(size, 1, seed) for seed in range(2))
    loop = matting._loop(engine.program, matting._model(engine.program, path), plate)
    options: dict[str, Any] = {"plate": plate} if model.startswith("bgmv2") else {}
    options |= {"raw_foreground": True} if model in ("modnet", "u2netp") else {}
    with engine.session(outputs=("composite",), background=(120, 255, 155), device="cpu", **options) as session:
        for _ in range(2):
            ours, theirs = np.asarray(session(frame)).astype(int), loop(frame).astype(int)
    assert np.abs(ours - theirs).mean() < 4


def test_turns_alternate_and_count_what_was_asked_for() -> None:
    called: list[str] = []
    one, other, ratio = before_after.race(lambda _: called.append("a"), lambda _: called.append("b"), 7)
    assert len(called) == 2 * (2 + 5 + 7)
    assert "".join(called[4:]).startswith("aaabbbbbbaaa")
    assert one.p50 <= one.p99
    assert other.p50 <= other.p99
    assert ratio > 0
