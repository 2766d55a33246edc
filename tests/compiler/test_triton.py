"""Triton's model repository: read with Triton's own schema, and held against the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

import trtmatte
from tests.compiler.building import shrinking
from tests.compiler.test_export import graph_of, kind, parts, world  # noqa: F401
from trtmatte.compiler import triton
from trtmatte.compiler.options import Form
from trtmatte.errors import EngineError
from trtmatte.format.program import Program

schema: Any = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed")
text_format: Any = pytest.importorskip("google.protobuf.text_format")


def read(text: str) -> Any:
    """An unknown field, or a value of another type, is an error."""
    return text_format.Parse(text, schema.ModelConfig())


def configured(case: str, suffix: str = ".plan", **form: Any) -> tuple[Any, onnx.GraphProto, Program]:
    program, networks, _ = parts(case)
    graph = graph_of(program, networks, Form(**form), "fp16")
    return read(triton.configuration("a model", suffix, graph, program.states)), graph.graph, program


def element(message: Any) -> str:
    return str(schema.DataType.Name(message.data_type))


def agree(message: Any, value: onnx.ValueInfoProto) -> None:
    shape, dtype = kind(value)
    assert tuple(message.dims) == shape
    assert element(message) == {"uint8": "TYPE_UINT8", "float16": "TYPE_FP16", "float32": "TYPE_FP32"}[dtype.name]


@pytest.mark.parametrize("case", ["rvm", "bgmv2, sampling", "generic"])
@pytest.mark.parametrize("form", [{}, {"outputs": ("rgba",), "dtype": "float32", "layout": "CHW"}], ids=str)
def test_it_agrees_with_the_graph(case: str, form: dict[str, Any]) -> None:
    config, graph, program = configured(case, **form)
    states = config.sequence_batching.state
    names = [*(each.name for each in config.input), *(each.input_name for each in states)]
    assert sorted(names) == sorted(each.name for each in graph.input)
    names = [*(each.name for each in config.output), *(each.output_name for each in states)]
    assert sorted(names) == sorted(each.name for each in graph.output)
    values = {each.name: each for each in (*graph.input, *graph.output)}
    for each in (*config.input, *config.output):
        agree(each, values[each.name])
    assert (config.name, config.backend, config.max_batch_size) == ("a model", "tensorrt", 0)
    assert config.HasField("sequence_batching") == bool(program.states)


def test_states_are_tritons_implicit_state() -> None:
    config, graph, program = configured("rvm")
    values = {each.name: each for each in (*graph.input, *graph.output)}
    batching = config.sequence_batching
    assert [(each.input_name, each.output_name) for each in batching.state] == [
        ("r1i", "r1o"),
        ("r2i", "r2o"),
        ("r3i", "r3o"),
        ("r4i", "r4o"),
    ]
    for state in batching.state:
        agree(state, values[state.input_name])
        agree(state, values[state.output_name])
        (initial,) = state.initial_state
        agree(initial, values[state.input_name])
        assert initial.zero_data
        assert initial.name  # Triton refuses one without
        assert not state.use_same_buffer_for_input_output  # neither runtime promises to read first and write then
    assert len({state.initial_state[0].name for state in batching.state}) == len(program.states)
    assert batching.WhichOneof("strategy_choice") == "oldest"
    assert batching.oldest.max_candidate_sequences > 1
    assert not batching.control_input  # states begin as zeros, so the network need not be told of a beginning


def test_the_runtime_follows_the_file() -> None:
    assert configured("generic", ".onnx")[0].backend == "onnxruntime"
    assert configured("generic", ".plan")[0].backend == "tensorrt"


SMALL: dict[str, Any] = {"family": "generic", "size": (64, 48)}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    onnx.save(shrinking(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("kind", "repository"), [("triton", "out"), ("triton", "triton"), (None, "triton")])
def test_a_repository_with_a_plan(kind: str | None, repository: str, model: Path, tmp_path: Path) -> None:
    made = trtmatte.export(model, kind, **{repository: tmp_path / "models"}, **SMALL)
    folder = tmp_path / "models" / "model"
    assert files(tmp_path / "models") == ["model/1/model.plan", "model/config.pbtxt"]
    assert made.files == (folder / "1" / "model.plan", folder / "config.pbtxt")
    assert (folder / "1" / "model.plan").read_bytes() == b"a plan"
    assert read((folder / "config.pbtxt").read_text()).name == "model"


def test_a_repository_with_a_graph(model: Path, tmp_path: Path) -> None:
    """It is called like the file, which is written as well; a second time replaces the first."""
    for _ in range(2):
        trtmatte.export(model, out=tmp_path / 'a "name".onnx', triton=tmp_path / "models", **SMALL)
    folder = tmp_path / "models" / 'a "name"'
    assert files(folder) == ["1/model.onnx", "config.pbtxt"]
    assert (folder / "1" / "model.onnx").read_bytes() == (tmp_path / 'a "name".onnx').read_bytes()
    config = read((folder / "config.pbtxt").read_text())
    assert (config.name, config.backend) == ('a "name"', "onnxruntime")


def test_a_repository_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").write_text("a file where the model's folder would be")
    with pytest.raises(EngineError, match="cannot be made"):
        trtmatte.export(model, out=tmp_path / "m.onnx", triton=tmp_path / "models", **SMALL)
    assert not (tmp_path / "m.onnx").exists()
