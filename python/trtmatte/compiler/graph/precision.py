"""Half precision as a pass over a graph, for libraries that compute in the types that the graph states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.compiler.graph.onnx_graph import Graph, attributes, is_made_up
from trtmatte.compiler.graph.ordering import reads, subgraphs
from trtmatte.compiler.graph.specialise import infer_shapes, static_shape

Rule = Callable[[Graph], set[str]]
"""Finds the nodes of a graph that stay in float32, by their first outputs."""

EXACT: Final = "exact"
"""The stem of made-up names: a value with such a name stays in float32, in every family."""

_WIDE: Final = TensorProto.FLOAT
_NARROW: Final = TensorProto.FLOAT16
_LARGEST: Final = float(np.finfo(np.float16).max)
_ALWAYS_WIDE: Final = {"Resize": {1, 2}, "Upsample": {1}}  # inputs that are float32 by definition
_READS_ANY: Final = {"Cast", "Shape", "Size"}  # their results are not of the type of what they read
_CONVOLUTIONS: Final = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
_SUMS: Final = {"GlobalAveragePool", "ReduceMean", "ReduceSum", "InstanceNormalization", "LayerNormalization"}
_MOVES: Final = {"Concat", "Identity", "MaxPool", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}


# ---------------------------------------------------------------------------------------------------------------------
# Rules


def nothing(graph: Graph) -> set[str]:
    """Keeps nothing in float32."""
    return set()


def stem(convolutions: int) -> Rule:
    """Keeps the nodes up to this many convolutions from the inputs, on the longest way, and those after the last."""

    def rule(graph: Graph) -> set[str]:
        depths = _depths(graph)
        first = [node for node, depth in depths if depth == 1 and node.op_type in _CONVOLUTIONS]
        before = {node.output[0] for node in graph.ancestors(name for node in first for name in node.input)}
        return before | {node.output[0] for node, depth in depths if 1 <= depth <= convolutions}

    return rule


def head(convolutions: int) -> Rule:
    """Keeps the last convolutions before the outputs, this many on the longest way, and the nodes between and after."""

    def rule(graph: Graph) -> set[str]:
        return {
            node.output[0]
            for node, depth in _depths_from_the_end(graph)
            if depth <= (convolutions if node.op_type in _CONVOLUTIONS else max(convolutions - 1, 0))
        }

    return rule


def sums(terms: int) -> Rule:
    """Keeps sums and means over more terms than this: libraries may add them up in float16."""

    def rule(graph: Graph) -> set[str]:
        return {node.output[0] for node in graph.all(*_SUMS) if _terms(graph, node) > terms}

    return rule


def offsets(largest: float) -> Rule:
    """Keeps convolutions that add more than this to a channel, and the nodes between them.

    The large offset is cancelled by the convolution's own sum or by the next convolution, and the rest is small.
    """

    def rule(graph: Graph) -> set[str]:
        found = [node for node in graph.nodes if node.op_type in _CONVOLUTIONS and _offset(graph, node) > largest]
        after = _around(graph, found, lambda node: [reader for name in node.output for reader in graph.consumers(name)])
        before = _around(graph, found, lambda node: [each for each in map(graph.producer, node.input) if each])
        return {node.output[0] for node in found} | (after & before)

    return rule


def positions(graph: Graph) -> set[str]:
    """Keeps GridSample, and the nodes between a convolution and the positions at which it samples.

    Float16 tells positions apart that are an eighth of a pixel from each other, in the middle of a map of 256 pixels.
    """
    grids = [node.input[1] for node in graph.all("GridSample")]
    barred = [name for node in graph.all(*_CONVOLUTIONS) for name in node.output]
    return {node.output[0] for node in (*graph.all("GridSample"), *graph.ancestors(grids, barred))}


def these(nodes: Iterable[str]) -> Rule:
    """Keeps the nodes with these first outputs."""
    names = set(nodes)
    return lambda graph: names


def rule_of(keep: KeepFp32) -> Rule:
    """The rule of a family."""
    rules = [stem(keep.stem)] if keep.stem else []
    rules += [] if keep.sums is None else [sums(keep.sums)]
    rules += [] if keep.offsets is None else [offsets(keep.offsets)]
    return together(positions, *rules)


def kept_nodes(model: ModelProto, rule: Rule) -> list[str]:
    """The nodes of a network that a rule keeps, by their first outputs."""
    graph = _copy(model)
    infer_shapes(graph)
    return sorted(rule(graph))


def together(*rules: Rule) -> Rule:
    """Keeps the nodes that any of the rules keeps."""
    return lambda graph: set().union(*(rule(graph) for rule in rules))


def _depths(graph: Graph) -> list[tuple[NodeProto, int]]:
    """The nodes in their order, each with the convolutions on the longest way to its result."""
    depths: dict[str, int] = {}
    found = []
    for node in graph.nodes:
        depth = max((depths.get(name, 0) for name in reads(node)), default=0) + (node.op_type in _CONVOLUTIONS)
        depths.update(dict.fromkeys(node.output, depth))
        found.append((node, depth))
    return found


def _depths_from_the_end(graph: Graph) -> list[tuple[NodeProto, int]]:
    """The nodes from the last to the first, each with the convolutions on the longest way from it to an output."""
    depths: dict[str, int] = {}
    found = []
    for node in reversed(graph.nodes):
        depth = max((depths.get(name, 0) for name in node.output), default=0) + (node.op_type in _CONVOLUTIONS)
        for name in reads(node):
            depths[name] = max(depths.get(name, 0), depth)
        found.append((node, depth))
    return found


def _offset(graph: Graph, node: NodeProto) -> float:
    bias = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
    return 0.0 if bias is None or not bias.size else float(np.abs(bias).max())


def _around(graph: Graph, nodes: Iterable[NodeProto], neighbours: Callable[[NodeProto], list[NodeProto]]) -> set[str]:
    """The nodes that can be reached without passing a convolution."""
    reached: set[str] = set()
    pending = [each for node in nodes for each in neighbours(node)]
    while pending:
        node = pending.pop()
        if node.op_type not in _CONVOLUTIONS and node.output[0] not in reached:
            reached.add(node.output[0])
            pending += neighbours(node)
    return reached


def _terms(graph: Graph, node: NodeProto) -> int:
    """The number of values in one sum."""
    before, after = static_shape(graph, node.input[0]), static_shape(graph, node.output[0])
    if before is None or after is None:
        return 0
    if node.op_type == "InstanceNormalization":
        return math.prod(before[2:])
    if node.op_type == "LayerNormalization":
        return math.prod(before[attributes(node).get("axis", -1) :])
    return math.prod(before) // max(math.prod(after), 1)


# ---------------------------------------------------------------------------------------------------------------------
# The pass


def to_fp16(model: ModelProto, keep: Rule = nothing, wide: Iterable[str] = ()) -> ModelProto:
    """The same network in float16, weights, inputs and outputs included, with Casts where types meet.

    The nodes of `keep` stay in float32, and so do inputs and outputs in `wide`, values named `EXACT`, our own ops,
    bodies of loops, and nodes with constants that float16 cannot hold.
    """
    graph = _copy(model)
    infer_shapes(graph)
    exact = {node.output[0] for node in graph.nodes if is_made_up(node.output[0], EXACT)}
    _Narrowing(graph, keep(graph) | exact, {*wide} | exact).run()
    return _like(model, graph)


class _Narrowing:
    """Converts the nodes in their order. `types` holds the new types of the float values."""

    def __init__(self, graph: Graph, kept: set[str], wide: set[str]) -> None:
        self._graph, self._kept, self._wide = graph, kept, wide
        self._types: dict[str, int] = {}
        self._casts: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []
        self._infos: dict[str, ValueInfoProto] = {
            name: value
            for table in (graph.values, graph.outputs, graph.inputs)
            for name, value in table.items()
            if value.type.tensor_type.elem_type == _WIDE
        }

    def run(self) -> None:
        graph = self._graph
        for name in graph.inputs.keys() & self._infos.keys():
            self._types[name] = _WIDE if name in self._wide else _NARROW
        for node in graph.nodes:
            self._convert(node)
        for name in graph.outputs.keys() & self._infos.keys():
            self._finish(name, _WIDE if name in self._wide else _NARROW)
        graph.nodes = self._nodes
        for name, type_ in self._types.items():
            for table in (graph.values, graph.inputs, graph.outputs):
                if name in table:
                    table[name].type.tensor_type.elem_type = type_
        graph.prune()

    def _convert(self, node: NodeProto) -> None:
        type_ = _NARROW if self._can_be_narrow(node) else _WIDE
        always_wide = _ALWAYS_WIDE.get(node.op_type, set())
        if node.op_type not in _READS_ANY:
            for index, name in enumerate(node.input):
                node.input[index] = self._as(name, _WIDE if index in always_wide else type_)
        elif node.op_type == "Cast" and node.output[0] in self._infos:
            node.attribute[0].i = type_
        for name in set(reads(node)) - {*node.input}:
            _read_instead(node, name, self._as(name, _WIDE))
        self._nodes.append(node)
        self._types.update((name, type_) for name in node.output if name in self._infos)

    def _can_be_narrow(self, node: NodeProto) -> bool:
        if node.domain or subgraphs(node) or node.output[0] in self._kept:
            return False
        floats = [name for name in node.input if name in self._types or self._is_weight(name)]
        makes_floats_of_others = node.op_type == "Cast" and node.output[0] in self._infos
        return all(self._fits(name) for name in floats) and (bool(floats) or makes_floats_of_others)

    def _is_weight(self, name: str) -> bool:
        array = self._graph.constants.get(name)
        return array is not None and array.dtype == np.float32

    def _fits(self, name: str) -> bool:
        array = self._graph.constants.get(name)
        return array is None or not np.any(np.isfinite(array) & (np.abs(array) > _LARGEST))

    def _as(self, name: str, type_: int) -> str:
        """The value in the given type: itself, a converted constant, or the output of a Cast."""
        weight = self._is_weight(name)
        if self._types.get(name, _WIDE if weight else type_) == type_:
            return name
        if (name, type_) not in self._casts:
            self._casts[name, type_] = self._narrow_weight(name) if weight else self._cast(name, type_)
        return self._casts[name, type_]

    def _narrow_weight(self, name: str) -> str:
        return self._graph.add_constant(self._graph.constants[name].astype(np.float16), "half")

    def _cast(self, name: str, type_: int) -> str:
        output = self._graph.fresh("cast")
        self._nodes.append(_cast_node(name, output, type_))
        return output

    def _finish(self, name: str, type_: int) -> None:
        """Give an output its declared type under its own name."""
        if self._types.get(name, type_) != type_:
            inner = self._graph.fresh("inner")
            self._rename(name, inner)
            if (name, type_) in self._casts:
                self._rename(self._casts[name, type_], name)
            else:
                self._nodes.append(_cast_node(inner, name, type_))
        self._types[name] = type_

    def _rename(self, old: str, new: str) -> None:
        for node in self._nodes:
            node.output[:] = [new if each == old else each for each in node.output]
            if old in reads(node):
                _read_instead(node, old, new)


# ---------------------------------------------------------------------------------------------------------------------
# What it costs


def emulated(model: ModelProto) -> ModelProto:
    """A float16 network as a float32 network that rounds every value to float16.

    Processors compute float16 in float32 and do not round in between, so running the network itself on one flatters
    it. This is what a GPU does that sums up in float32 and fuses nothing.
    """
    graph = _copy(model)
    narrow = {name for name, value in {**graph.values, **graph.outputs, **graph.inputs}.items() if _is_narrow(value)}
    narrow |= {node.output[0] for node in graph.all("Cast") if attributes(node)["to"] == _NARROW}
    for table in (graph.inputs, graph.outputs, graph.values):
        for name in table.keys() & narrow:
            table[name].type.tensor_type.elem_type = _WIDE
    for name, array in graph.constants.items():
        graph.constants[name] = array.astype(np.float32) if array.dtype == np.float16 else array
    nodes = [each for name in graph.inputs if name in narrow for each in _rounding(name, f"{name}/rounded")]
    rounded = {name: f"{name}/rounded" for name in graph.inputs if name in narrow}
    for node in graph.nodes:
        node.input[:] = [rounded.get(name, name) for name in node.input]
        if node.op_type == "Cast" and node.output[0] in narrow:
            node.attribute[0].i = _WIDE
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in narrow and node.op_type not in _MOVES:
                node.output[index] = f"{name}/exact"
                nodes += _rounding(f"{name}/exact", name)
    graph.nodes = nodes
    return _like(model, graph)


def _rounding(name: str, output: str) -> list[NodeProto]:
    half = f"{output}/half"
    return [
        helper.make_node("Cast", [name], [half], to=_NARROW),
        helper.make_node("Cast", [half], [output], to=_WIDE),
    ]


def _is_narrow(value: ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == _NARROW)


def _cast_node(name: str, output: str, type_: int) -> NodeProto:
    return helper.make_node("Cast", [name], [output], name=output, to=type_)


def _read_instead(node: NodeProto | GraphProto, old: str, new: str) -> None:
    """Let a node, and the bodies in it, read another value."""
    if old == new:
        return
    if isinstance(node, NodeProto):
        node.input[:] = [new if name == old else name for name in node.input]
        for body in subgraphs(node):
            _read_instead(body, old, new)
    else:
        for inner in node.node:
            _read_instead(inner, old, new)
        for value in node.output:
            value.name = new if value.name == old else value.name


def _copy(model: ModelProto) -> Graph:
    copy = ModelProto()
    copy.CopyFrom(model)
    return Graph(copy)


def _like(model: ModelProto, graph: Graph) -> ModelProto:
    """The model of a changed graph, with the metadata of the original."""
    changed = graph.model(name=model.graph.name)
    changed.functions.extend(model.functions)
    changed.metadata_props.extend(model.metadata_props)
    return changed
