"""A model repository of Triton Inference Server: the model and its configuration.

The states of a recurrent model become Triton's *implicit state*: it keeps them for each sequence of requests, and its
clients send and receive pictures alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.errors import EngineError
from trtmatte.format.stages import State
from trtmatte.support.files import replacing

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["configuration", "write"]

_BACKENDS: Final = {".plan": "tensorrt", ".onnx": "onnxruntime"}
_TYPES: Final = {"uint8": "TYPE_UINT8", "float16": "TYPE_FP16", "float32": "TYPE_FP32", "int32": "TYPE_INT32"}
_STREAMS: Final = 16  # that one instance serves in turn
_IDLE: Final = 60_000_000  # microseconds after which a silent stream is forgotten

Field = tuple[str, Any]  # a name, and the text of its value or the fields in it


def write(folder: Path, suffix: str, content: bytes, graph: ModelProto, states: Sequence[State]) -> list[Path]:
    """Write a model into its own folder of a repository, as version 1. The folder's name is the model's name."""
    files = {
        folder / "1" / f"model{suffix}": content,
        folder / "config.pbtxt": configuration(folder.name, suffix, graph, states).encode(),
    }
    for path, data in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(f"{path.parent} cannot be made: {error.strerror or error}") from error
        with replacing(path) as file:
            file.write(data)
    return list(files)


def configuration(name: str, suffix: str, graph: ModelProto, states: Sequence[State]) -> str:
    """The configuration of a graph in protobuf's text format.

    Its shapes are fixed, with the batch. Triton calls this a model that does not support batching
    (`max_batch_size` 0), and expects the batch in the dimensions, also in those of states.
    """
    values = {value.name: value for value in (*graph.graph.input, *graph.graph.output)}
    kept = {each for state in states for each in (state.input, state.output)}
    fields: list[Field] = [
        ("name", json.dumps(name, ensure_ascii=False)),
        ("backend", json.dumps(_BACKENDS[suffix])),
        ("max_batch_size", "0"),
    ]
    for kind, tensors in (("input", graph.graph.input), ("output", graph.graph.output)):
        fields += [(kind, [("name", f'"{each.name}"'), *_kind(each)]) for each in tensors if each.name not in kept]
    if states:
        fields.append(("sequence_batching", _sequences(states, values)))
    return "".join(f"{line}\n" for line in _lines(fields))


def _sequences(states: Sequence[State], values: dict[str, ValueInfoProto]) -> list[Field]:
    """Several streams take turns. Each has states of its own, zeros at first."""
    fields: list[Field] = [
        ("max_sequence_idle_microseconds", str(_IDLE)),
        ("oldest", [("max_candidate_sequences", str(_STREAMS))]),
    ]
    for state in states:
        kind = _kind(values[state.input])
        initial = [("name", f'"{state.name}, zero"'), *kind, ("zero_data", "true")]
        names = [("input_name", f'"{state.input}"'), ("output_name", f'"{state.output}"')]
        fields.append(("state", [*names, *kind, ("initial_state", initial)]))
    return fields


def _kind(value: ValueInfoProto) -> list[Field]:
    from onnx import helper

    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return [("data_type", _TYPES[dtype]), ("dims", str([size.dim_value for size in tensor.shape.dim]))]


def _lines(fields: Sequence[Field], indent: str = "") -> Iterator[str]:
    for name, value in fields:
        if isinstance(value, str):
            yield f"{indent}{name}: {value}"
        else:
            yield f"{indent}{name} {{"
            yield from _lines(value, indent + "  ")
            yield f"{indent}}}"
