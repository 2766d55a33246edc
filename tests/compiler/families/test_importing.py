"""Which file is of which family, and what is said of files that are none."""

from __future__ import annotations

import pickle

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests import reference
from trtmatte.compiler.families import reading as importing
from trtmatte.errors import ModelError


def small_model():
    """Something that is valid ONNX and no matting network."""
    weights = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "weights")
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 8])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weights"], ["y"])], "small", [source], [result], [weights]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def truncated(folder):
    onnx.save(small_model(), folder / "model.onnx")
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def empty(folder):
    (folder / "model.onnx").write_bytes(b"")


def a_web_page(folder):
    (folder / "model.onnx").write_text("<!doctype html><html>Not found</html>")


def without_external_data(folder):
    model = small_model()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()


def with_external_data_cut_short(folder):
    model = small_model()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").write_bytes(b"\0" * 7)


def with_nan(folder):
    model = small_model()
    weights = np.ones((2, 3, 1, 1), np.float32)
    weights[1, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    onnx.save(model, folder / "model.onnx")


def of_an_old_opset(folder):
    model = small_model()
    model.opset_import[0].version = 9
    onnx.save(model, folder / "model.onnx")


def with_foreign_operators(folder):
    model = small_model()
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, folder / "model.onnx")


def no_graph_at_all(folder):
    onnx.save(onnx.ModelProto(ir_version=8), folder / "model.onnx")


def with_a_loose_end(folder):
    model = small_model()
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, folder / "model.onnx")


def of_nothing_known(folder):
    onnx.save(small_model(), folder / "model.onnx")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (truncated, "not a complete ONNX file|not a valid"),
        (empty, "no ONNX graph"),
        (a_web_page, "not a complete ONNX file"),
        (without_external_data, "weights in other files"),
        (with_external_data_cut_short, "that file has 7 bytes"),
        (with_nan, "NaN in the constant weights"),
        (of_an_old_opset, "opset 9; expected 11 or later"),
        (with_foreign_operators, "com.microsoft"),
        (no_graph_at_all, "no ONNX graph"),
        (with_a_loose_end, "not a valid ONNX model"),
        (of_nothing_known, "of no family"),
        (lambda folder: None, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_broken_onnx_files(write, message, tmp_path):
    write(tmp_path)
    with pytest.raises(ModelError, match=message):
        importing.read(tmp_path / "model.onnx", size=(8, 8))


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_checkpoints_that_want_code_are_refused(tmp_path, capsys):
    with (tmp_path / "model.pth").open("wb") as file:
        pickle.dump({"state_dict": Bomb()}, file)
    with pytest.raises(ModelError):
        importing.read(tmp_path / "model.pth", size=(8, 8))
    assert "executed" not in capsys.readouterr().out


def test_checkpoints_of_another_family_than_asked_for(tmp_path):
    torch.save(reference.network("u2netp").state_dict(), tmp_path / "model.pth")
    with pytest.raises(ModelError, match="has the weights of u2netp, not of the family rvm"):
        importing.read(tmp_path / "model.pth", family="rvm")
