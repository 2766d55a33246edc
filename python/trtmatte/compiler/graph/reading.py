"""Reading an ONNX file. Every problem of the file is reported here, before a family looks at it.

Nodes in a wrong order are no problem: they are sorted.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper, version_converter

from trtmatte.compiler.graph import external_data
from trtmatte.compiler.graph.dequantise import dequantise
from trtmatte.compiler.graph.functions import DOMAIN, OPSET
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.ordering import sort, subgraphs
from trtmatte.errors import ModelError
from trtmatte.support.text import first_line

OLDEST_OPSET = 11
LARGEST = (2 << 30) - 1  # bytes, protobuf's own limit
MOST_NODES = 20_000  # of all graphs


def load(path: str | Path, *, self_contained: bool = False) -> Graph:
    """The graph of an ONNX file, with float32 in place of float16. Raises a ModelError with the problem.

    With `self_contained`, no other file is read: a model that has weights there is refused.
    """
    path = Path(path)
    model = parse(path)
    if self_contained and external_data.tensors(model):
        raise ModelError(f"{path} keeps weights in other files; expected one file in safe mode: export them inside")
    _load_external_data(model, path)
    try:
        sort(model.graph)
    except ModelError as error:
        raise ModelError(f"{path} has nodes in a circle: {error}") from error
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path} is not a valid ONNX model: {first_line(error)}") from error
    return from_model(model, str(path))


def from_model(model: ModelProto, title: str = "the model") -> Graph:
    """The graph of a model in memory, which must not be used afterwards."""
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if DOMAIN in domains:
        raise ModelError(f"{title} has been through trtmatte already; give the model that it was made from")
    if domains:
        raise ModelError(
            f"{title} uses operators of {', '.join(sorted(domains))}; expected standard ONNX operators alone: "
            "export it without optimisations for one runtime"
        )
    graph = Graph(_as_float32(_of_opset(model, title)))
    dequantise(graph)
    for name, array in graph.constants.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ModelError(f"{title} has NaN in the constant {name}; the file is damaged, or its training diverged")
    return graph


def parse(path: Path) -> ModelProto:
    """The model in an ONNX file, as it is there. No library but protobuf sees it, and other files are not read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise ModelError(f"{path} has {size} bytes; expected at most {LARGEST}, as ONNX files have")
            model = onnx.load_model_from_string(file.read())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise ModelError(f"{path} is not a complete ONNX file; download or export it again") from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{path} holds no ONNX graph; is it the right file?")
    _check_nodes(model, path)
    return model


def _check_nodes(model: ModelProto, path: Path) -> None:
    nodes = sum(isinstance(each, NodeProto) for each in external_data.messages(model))
    if nodes > MOST_NODES:
        raise ModelError(f"{path} has {nodes} nodes; expected at most {MOST_NODES}: matting networks have 2,000")
    if model.graph.sparse_initializer:
        raise ModelError(f"{path} has sparse weights; expected dense ones: export it without sparsity")
    del model.training_info[:], model.functions[:]


def _load_external_data(model: ModelProto, path: Path) -> None:
    try:
        external_data.embed(model, path)
    except OSError as error:
        raise ModelError(
            f"{path} keeps its weights in other files, which cannot be read ({error.strerror or error}); "
            "put them beside it, under the names they were exported with"
        ) from error


def _of_opset(model: ModelProto, title: str) -> ModelProto:
    """Convert a model to the opset of our function bodies, unless it has a newer one."""
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise ModelError(f"{title} has opset {opset}; expected {OLDEST_OPSET} or later: export it again")
    if opset >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises whatever its C++ part throws
        raise ModelError(
            f"{title} cannot be raised from opset {opset} to {OPSET} ({first_line(error)}); export it with {OPSET}"
        ) from error


def _as_float32(model: ModelProto) -> ModelProto:
    """Convert float16 to float32, without loss: precision is chosen by a pass of its own."""
    _widen_graph(model.graph)
    return model


def _widen_graph(graph: GraphProto) -> None:
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        for body in subgraphs(node):
            _widen_graph(body)
    del graph.value_info[:]


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
