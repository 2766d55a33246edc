"""Model files are read in a process of their own: what happens there becomes a ModelError."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import trtmatte
from tests.compiler.building import shrinking
from trtmatte.compiler import importing
from trtmatte.compiler.families import catalog, reading
from trtmatte.compiler.graph import reading as graph_reading
from trtmatte.compiler.graph import specialise
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.errors import ModelError, SettingError
from trtmatte.models.download import sha256
from trtmatte.models.model import Model
from trtmatte.support.limits import Limits

GENERIC = {"family": "generic", "size": (64, 48)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(shrinking(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def in_the_process(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the process run code in place of reading."""
    monkeypatch.setattr(
        importing, "_CHILD", importing._CHILD.replace("importing.answer(", f"{code}; importing.answer(")
    )


def test_the_graph_is_the_same(path: Path) -> None:
    assert importing.read(path, **GENERIC) == reading.read(path, **GENERIC)


def test_errors_come_back_as_they_are(path: Path) -> None:
    for options, kind in (({**GENERIC, "nonsense": 1}, SettingError), ({}, ModelError)):
        with pytest.raises(kind) as here:
            reading.read(path, **options)
        with pytest.raises(kind) as there:
            importing.read(path, **options)
        assert str(there.value) == str(here.value)


@pytest.mark.parametrize("code", ["import os; os.abort()", "import os; os.kill(os.getpid(), 11)"])
def test_a_crash_is_an_error(code: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_process(monkeypatch, code)
    with pytest.raises(ModelError, match=r"ended with SIG(ABRT|SEGV)"):
        importing.read(path, **GENERIC)


def test_no_answer_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_process(monkeypatch, "sys.stderr.write('the \\x1b[2J reason'); sys.exit(3)")
    with pytest.raises(ModelError, match=r"the \\x1b\[2J reason"):
        importing.read(path, **GENERIC)


def test_time_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_SECONDS", 1)
    in_the_process(monkeypatch, "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(ModelError, match="not read within 1 seconds"):
        importing.read(path, **GENERIC)
    assert time.monotonic() - began < 30


def test_memory_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_process(monkeypatch, "importing._set_limits(1 << 28); x = bytearray(1 << 29)")
    with pytest.raises(ModelError, match="MemoryError"):
        importing.read(path, **GENERIC)


def test_what_a_library_prints_does_not_disturb(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_process(
        monkeypatch,
        "tried = importing._tried; importing._tried = lambda *given: [print('said', flush=True), tried(*given)][1]",
    )
    assert importing.read(path, **GENERIC) == reading.read(path, **GENERIC)


def test_known_models_and_checkpoints_need_no_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(importing, "_read_apart", fail)
    with pytest.raises(AssertionError):
        importing.read(path, **GENERIC)
    known = Model("toy", "u2net", "toy.onnx", "MIT", "https://example.org", None, sha256(path))
    monkeypatch.setattr(catalog, "models", lambda: (known,))
    assert importing.read(path, **GENERIC) == reading.read(path, **GENERIC)
    (path.parent / "model.pth").write_bytes(b"\x80\x02}.")
    with pytest.raises(ModelError, match=r"model\.pth"):
        importing.read(path.parent / "model.pth")


@pytest.mark.parametrize("name", ["json.py", "trtmatte.py", "sitecustomize.py", "numpy.py", "onnx/__init__.py"])
def test_the_process_imports_nothing_from_the_working_folder(
    name: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, witness = tmp_path / "here", tmp_path / "ran"
    (here / name).parent.mkdir(parents=True)
    (here / name).write_text(f"open({str(witness)!r}, 'w').close()")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", ["", str(here), *sys.path])
    importing.read(path, **GENERIC)
    assert not witness.exists()


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    importing.read(Path("model.onnx"), **GENERIC)
    with pytest.raises(ModelError, match=r"^this ONNX|^model\.onnx"):
        importing.read(Path("model.onnx"))


def chain(count: int, first: int) -> ModelProto:
    """A constant that each node makes twice as long."""
    names = [f"c{number}" for number in range(count + 1)]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("ReduceMax", [names[-1]], ["m"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["x", "m"], ["y"]))
    ends.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8]))
    weights = [numpy_helper.from_array(np.ones(first, np.float32), names[0])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def unknown_length(count: int) -> ModelProto:
    """The same, of a length that shape inference does not know."""
    model = chain(count, 4)
    model.graph.node.insert(0, helper.make_node("NonZero", ["c0"], ["n"]))
    model.graph.node.insert(1, helper.make_node("Squeeze", ["n"], ["s"]))
    model.graph.node.insert(2, helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT))
    model.graph.node[3].input[:] = ["f", "f"]
    return model


def test_inference_that_needs_ever_more_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_process(monkeypatch, "importing.MOST_MEMORY = 1 << 30")
    onnx.save(chain(60, 4), path)
    with pytest.raises(ModelError, match=r"MemoryError|SIGABRT"):
        importing.read(path, **GENERIC)


@pytest.mark.parametrize("make", [lambda: chain(40, 4), lambda: chain(40, 100), lambda: unknown_length(60)])
def test_folding_is_limited(make: Any) -> None:
    graph = Graph(make())
    specialise.fold_constants(graph)
    assert sum(array.nbytes for array in graph.constants.values()) < 200_000_000


def test_folding_opens_no_pictures() -> None:
    encoded = numpy_helper.from_array(np.frombuffer(b"%!PS-Adobe-3.0 EPSF-3.0\n", np.uint8), "x")
    node = helper.make_node("ImageDecoder", ["x"], ["y"])
    info = helper.make_tensor_value_info("y", TensorProto.UINT8, None)
    graph = Graph(
        helper.make_model(
            helper.make_graph([node], "g", [], [info], [encoded]), opset_imports=[helper.make_opsetid("", 20)]
        )
    )
    specialise.fold_constants(graph)
    assert [each.op_type for each in graph.nodes] == ["ImageDecoder"]


def test_nodes_are_limited(path: Path) -> None:
    model = shrinking()
    model.graph.node.extend([helper.make_node("Identity", ["x"], ["z"])] * graph_reading.MOST_NODES)
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"has 2000\d nodes; expected at most 20000"):
        graph_reading.load(path)


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is no file"):
        importing.read(tmp_path / "model.onnx")


def test_safe_mode(path: Path) -> None:
    assert trtmatte.build(path, safe=True, target="onnxruntime", **GENERIC).program.family == "generic"
    with pytest.raises(ModelError, match="expected at most 10 in safe mode"):
        trtmatte.build(path, safe=Limits(file_bytes=10), **GENERIC)
    with pytest.raises(SettingError, match="expected at most 100 pixels in safe mode"):
        trtmatte.build(path, safe=Limits(pixels=100), **GENERIC)
    onnx.save(shrinking(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    trtmatte.build(path, target="onnxruntime", **GENERIC)
    with pytest.raises(ModelError, match=r"weights\.bin; expected one file in safe mode"):
        trtmatte.build(path, safe=True, target="onnxruntime", **GENERIC)
