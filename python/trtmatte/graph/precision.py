"""Half precision as a pass over a graph, for engines that compute in the types that the graph states."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from trtmatte.errors import ModelError
from trtmatte.graph.graph import Graph
from trtmatte.graph.specialise import infer_shapes

Rule = Callable[[Graph], Collection[str]]
"""Finds the nodes of a graph that stay in float32, by the names of their first outputs."""

_WIDE: Final = TensorProto.FLOAT
_NARROW: Final = TensorProto.FLOAT16
_LARGEST: Final = float(np.finfo(np.float16).max)
_ALWAYS_WIDE: Final = {"Resize": {1, 2}, "Upsample": {1}}  # inputs that are float32 by definition
_READS_ANY: Final = {"Cast", "Shape", "Size"}  # their results are not of the type of what they read


def nothing(graph: Graph) -> Collection[str]:
    """The rule that keeps nothing in float32."""
    return ()


def for_family(family: str) -> Rule:
    """What a family keeps in float32, as its `spec.KEEP_FP32` says."""
    return nothing


def to_fp16(model: ModelProto, keep: Rule = nothing, wide: Iterable[str] = ()) -> ModelProto:
    """The same network in float16, weights, inputs and outputs included, with Casts where types meet.

    Nodes that `keep` names stay in float32, and so do inputs and outputs in `wide`, our own ops, and nodes with
    constants that float16 cannot hold.
    """
    graph = _copy(model)
    infer_shapes(graph)
    _Narrowing(graph, {*keep(graph)}, {*wide}).run()
    narrowed = graph.model(name=model.graph.name)
    narrowed.functions.extend(model.functions)
    narrowed.metadata_props.extend(model.metadata_props)
    return narrowed


class _Narrowing:
    """Goes through the nodes in their order; `types` says what the float values have become."""

    def __init__(self, graph: Graph, kept: set[str], wide: set[str]) -> None:
        self._graph, self._kept, self._wide = graph, kept, wide
        self._types: dict[str, int] = {}
        self._casts: dict[tuple[str, int], str] = {}
        self._floats = {
            name
            for table in (graph.values, graph.inputs, graph.outputs)
            for name, value in table.items()
            if value.type.tensor_type.elem_type == _WIDE
        }
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        graph = self._graph
        for name, value in graph.inputs.items():
            if name in self._floats:
                self._types[name] = value.type.tensor_type.elem_type = _WIDE if name in self._wide else _NARROW
        for node in graph.nodes:
            self._convert(node)
        for name, value in graph.outputs.items():
            if name in self._floats:
                value.type.tensor_type.elem_type = _WIDE if name in self._wide else _NARROW
                self._finish(name, value.type.tensor_type.elem_type)
        graph.nodes = self._nodes
        graph.values = {name: value for name, value in graph.values.items() if name not in self._floats}
        graph.prune()

    def _convert(self, node: NodeProto) -> None:
        if any(each.HasField("g") or each.graphs for each in node.attribute):
            raise ModelError(f"{node.op_type} {node.name} has a graph inside; specialise the model before float16")
        type_ = _NARROW if self._can_be_narrow(node) else _WIDE
        exempt = _ALWAYS_WIDE.get(node.op_type, set())
        if node.op_type not in _READS_ANY:
            for index, name in enumerate(node.input):
                node.input[index] = self._as(name, _WIDE if index in exempt else type_)
        if node.op_type == "Cast" and type_ == _NARROW:
            for attribute in node.attribute:
                attribute.i = _NARROW
        self._nodes.append(node)
        self._types.update((name, type_) for name in node.output if name in self._floats)

    def _can_be_narrow(self, node: NodeProto) -> bool:
        if node.domain or node.output[0] in self._kept:
            return False
        reads = [name for name in node.input if name in self._types or self._is_weight(name)]
        return bool(reads) and all(self._fits(name) for name in reads)

    def _is_weight(self, name: str) -> bool:
        array = self._graph.constants.get(name)
        return array is not None and array.dtype == np.float32

    def _fits(self, name: str) -> bool:
        array = self._graph.constants.get(name)
        return array is None or not np.any(np.isfinite(array) & (np.abs(array) > _LARGEST))

    def _as(self, name: str, type_: int) -> str:
        """The value in the given type: itself, a constant's copy, or what a Cast makes of it."""
        weight = self._is_weight(name)
        if self._types.get(name, _WIDE if weight else type_) == type_:
            return name
        if (name, type_) not in self._casts:
            self._casts[name, type_] = self._narrow_weight(name) if weight else self._cast(name, type_)
        return self._casts[name, type_]

    def _narrow_weight(self, name: str) -> str:
        with np.errstate(over="ignore"):
            return self._graph.add_constant(self._graph.constants[name].astype(np.float16), "half")

    def _cast(self, name: str, type_: int) -> str:
        output = self._graph.fresh("cast")
        self._nodes.append(helper.make_node("Cast", [name], [output], name=output, to=type_))
        return output

    def _finish(self, name: str, type_: int) -> None:
        """Makes an output what it is declared to be, under its own name."""
        if self._types.get(name, type_) == type_:
            return
        inner = self._graph.fresh("uncast")
        for node in self._nodes:
            node.input[:] = [inner if each == name else each for each in node.input]
            node.output[:] = [inner if each == name else each for each in node.output]
        self._nodes.append(helper.make_node("Cast", [inner], [name], name=self._graph.fresh("cast"), to=type_))


def _copy(model: ModelProto) -> Graph:
    copy = ModelProto()
    copy.CopyFrom(model)
    return Graph(copy)
