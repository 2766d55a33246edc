"""Weights in other files: files beside the model alone are read, and of them only what the model says is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from trtmatte.compiler.graph import external_data, reading
from trtmatte.errors import ModelError

SECRET = np.arange(6, dtype=np.float32)


def tensor(name: str = "weights", location: str = "weights.bin", **changes: Any) -> TensorProto:
    """A tensor of six floats in another file."""
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[6], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "24", **changes}.items():
        if value is not None:
            made.external_data.add(key=key, value=value)
    return made


def model_of(weights: TensorProto) -> ModelProto:
    kind = TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [6]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "weights"], ["y"])], "g", ends[:1], ends[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def write(folder: Path, model: ModelProto) -> Path:
    path = folder / "model" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_beside_the_model_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, model_of(tensor()))
    (path.parent / "weights.bin").write_bytes(SECRET.tobytes())
    assert np.array_equal(reading.load(path).constants["weights"], SECRET)
    with pytest.raises(ModelError, match="expected one file in safe mode"):
        reading.load(path, self_contained=True)


@pytest.mark.parametrize("changes", [{"offset": "4"}, {"offset": "4", "length": None}], ids=["length", "no length"])
def test_a_part_of_a_file(changes: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path, model_of(tensor(**changes)))
    (path.parent / "weights.bin").write_bytes(b"head" + SECRET.tobytes() + b"tail")
    assert np.array_equal(reading.load(path).constants["weights"], SECRET)


def link(folder: Path, target: str | Path) -> None:
    (folder / "weights.bin").symlink_to(target)


ELSEWHERE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "the folder above": ("../secret", lambda folder: None),
    "the folder above and back": ("../model/../secret", lambda folder: None),
    "an absolute path": ("/etc/passwd", lambda folder: None),
    "a folder within": ("inner/weights.bin", lambda folder: (folder / "inner").mkdir()),
    "a backslash": ("..\\secret", lambda folder: None),
    "no name": ("", lambda folder: None),
    "this folder": (".", lambda folder: None),
    "a name with a null": ("weights\0.bin", lambda folder: None),
    "a link": ("weights.bin", lambda folder: link(folder, folder.parent / "secret")),
    "a link to a file beside": ("weights.bin", lambda folder: link(folder, "model.onnx")),
    "a link to nothing": ("weights.bin", lambda folder: link(folder, "nothing")),
    "another name of a file": ("weights.bin", lambda f: os.link(f.parent / "secret", f / "weights.bin")),
    "a pipe": ("weights.bin", lambda folder: os.mkfifo(folder / "weights.bin")),
    "a device": ("weights.bin", lambda folder: link(folder, "/dev/zero")),
    "a folder": ("weights.bin", lambda folder: (folder / "weights.bin").mkdir()),
    "a terminal's escape": ("\x1b[2Jweights", lambda folder: None),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_whatever_else_is_refused(case: str, tmp_path: Path) -> None:
    location, make = ELSEWHERE[case]
    (tmp_path / "secret").write_bytes(SECRET.tobytes())
    path = write(tmp_path, model_of(tensor(location=location)))
    make(path.parent)
    with pytest.raises(ModelError, match=r"keeps (its )?weights in") as error:
        reading.load(path)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": "1"},
        {"offset": "-4"},
        {"offset": "x"},
        {"offset": "9" * 5000},
        {"length": "23"},
        {"length": "25"},
        {"length": "-1"},
    ],
    ids=str,
)
def test_offsets_and_lengths_are_within_the_file(changes: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path, model_of(tensor(**{key: value[:5000] for key, value in changes.items()})))
    (path.parent / "weights.bin").write_bytes(SECRET.tobytes())
    with pytest.raises(ModelError, match="that file has 24 bytes"):
        reading.load(path)


def in_an_attribute(outside: TensorProto) -> ModelProto:
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=outside))
    return model


def in_a_subgraph(outside: TensorProto) -> ModelProto:
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    body = helper.make_graph([helper.make_node("Identity", ["weights"], ["b"])], "body", [], [], [outside])
    model.graph.node.insert(0, helper.make_node("If", ["x"], ["i"], then_branch=body, else_branch=body))
    return model


def in_a_function(outside: TensorProto) -> ModelProto:
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    node = helper.make_node("Constant", [], ["c"], value=outside)
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], [helper.make_opsetid("", 18)]))
    return model


def sparse(outside: TensorProto) -> ModelProto:
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    model.graph.sparse_initializer.add(values=outside, dims=[6])
    return model


def in_the_training(outside: TensorProto) -> ModelProto:
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    model.training_info.add().algorithm.initializer.append(outside)
    return model


@pytest.mark.parametrize("make", [model_of, in_an_attribute, in_a_subgraph, in_a_function, sparse, in_the_training])
def test_wherever_the_tensor_is(make: Callable[[TensorProto], ModelProto], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    (tmp_path.parent / "secret").write_bytes(SECRET.tobytes())
    model = make(tensor(location="../secret"))
    assert len(external_data.tensors(model)) == (2 if make is in_a_subgraph else 1)
    with pytest.raises(ModelError, match="not the name of a file beside it"):
        external_data.embed(model, path)


def test_all_weights_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_data, "_LARGEST", 40)
    path = write(tmp_path, in_a_subgraph(tensor()))
    (path.parent / "weights.bin").write_bytes(SECRET.tobytes())
    with pytest.raises(ModelError, match="more than 40 bytes of weights"):
        reading.load(path)


def test_a_file_that_onnx_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = model_of(numpy_helper.from_array(SECRET, "weights"))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert np.array_equal(reading.load(path).constants["weights"], SECRET)
