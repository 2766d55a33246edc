"""An ONNX graph that can be searched and changed: nodes, constants by name, producers and consumers of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from trtmatte.compiler.graph.ordering import ordered, reads, subgraphs

Array = NDArray[Any]
Shape = tuple[int | str | None, ...]

_PASSES_ON = {"Identity", "Cast", "Dropout"}
_MADE_UP = "trtmatte/"  # names of values that begin so end with a number
_LONGEST = 16  # digits of such a number


class Graph:
    """The graph of a model. Constants are arrays, from initialisers and from Constant nodes."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
        self.constants: dict[str, Array] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.nodes: list[NodeProto] = list(graph.node)
        self.absorb_constants()
        self.inputs = {each.name: each for each in graph.input if each.name not in self.constants}
        self.outputs = {each.name: each for each in graph.output}
        self.values = {each.name: each for each in graph.value_info}
        self._made_by: dict[str, NodeProto] | None = None
        self._read_by: dict[str, list[NodeProto]] | None = None
        self._fresh = max(map(_number, self.names()), default=0)

    # -- looking

    def producer(self, name: str) -> NodeProto | None:
        """The node that makes a value; None for inputs and constants."""
        if self._made_by is None:
            self._made_by = {output: node for node in self.nodes for output in node.output if output}
        return self._made_by.get(name)

    def consumers(self, name: str) -> list[NodeProto]:
        if self._read_by is None:
            self._read_by = {}
            for node in self.nodes:
                for each in dict.fromkeys(node.input):
                    self._read_by.setdefault(each, []).append(node)
        return self._read_by.get(name, [])

    def origin(self, name: str) -> str:
        """The value before nodes that only pass their input on."""
        node = self.producer(name)
        while node is not None and node.op_type in _PASSES_ON:
            name = node.input[0]
            node = self.producer(name)
        return name

    def up(self, name: str, *kinds: str) -> NodeProto | None:
        """The node of one of these kinds that makes a value, past nodes that only pass their input on."""
        node = self.producer(self.origin(name))
        return node if node is not None and node.op_type in kinds else None

    def down(self, name: str) -> list[NodeProto]:
        """The nodes that read a value, past nodes that only pass it on."""
        found: list[NodeProto] = []
        for node in self.consumers(name):
            found += self.down(node.output[0]) if node.op_type in _PASSES_ON else [node]
        return found

    def constant(self, name: str) -> Array | None:
        return self.constants.get(self.origin(name))

    def is_constant(self, name: str, value: float) -> bool:
        """Report if a value is a constant whose elements all are `value`."""
        array = self.constant(name)
        return array is not None and array.size > 0 and bool(np.allclose(array, value, rtol=0, atol=1e-6))

    def other_input(self, node: NodeProto, name: str) -> str:
        """Of two inputs, the one that is not `name`."""
        first, second = node.input
        return str(second if self.origin(first) == self.origin(name) else first)

    def kinds(self) -> set[str]:
        return {node.op_type for node in self.nodes}

    def all(self, *kinds: str) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type in kinds]

    def ancestors(self, names: Iterable[str], stop: Iterable[str] = ()) -> list[NodeProto]:
        """The nodes that compute these values, in order, up to the values `stop`."""
        pending, barred = list(names), set(stop)
        seen: set[int] = set()
        while pending:
            name = pending.pop()
            node = None if name in barred else self.producer(name)
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                pending += reads(node)
        return [node for node in self.nodes if id(node) in seen]

    # -- changing

    def changed(self) -> None:
        """Call this after nodes were changed from outside."""
        self._made_by = self._read_by = None

    def absorb_constants(self) -> None:
        """Turn Constant nodes into entries of `constants`."""
        found = [node for node in self.nodes if node.op_type == "Constant"]
        self.constants.update({node.output[0]: _constant(node) for node in found})
        self.nodes = [node for node in self.nodes if node.op_type != "Constant"]

    def fresh(self, stem: str) -> str:
        """A new name."""
        self._fresh += 1
        return f"{_MADE_UP}{stem}/{self._fresh}"

    def add_constant(self, array: Array, stem: str = "constant") -> str:
        name = self.fresh(stem)
        self.constants[name] = array
        return name

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **settings: Any) -> str:
        """Add a node at the end. Returns the name of its first output, which is made up if none is given."""
        outputs = outputs or (self.fresh(kind.lower()),)
        self.nodes.append(helper.make_node(kind, inputs, outputs, **settings))
        self.changed()
        return outputs[0]

    def absorb(self, other: Graph) -> None:
        """Take over the nodes of another graph. Its inner values get new names."""
        made = {name for node in other.nodes for name in node.output if name} | other.constants.keys()
        for name in sorted(made - other.outputs.keys()):
            other.rename(name, self.fresh("absorbed"))
        self.nodes += other.nodes
        self.constants |= other.constants
        self.inputs |= other.inputs
        self.outputs |= other.outputs
        self.changed()

    def copy(self) -> Graph:
        """A copy of the graph over the same constants."""
        model = ModelProto()
        model.CopyFrom(self.model(constants=False))
        copy = Graph(model)
        copy.constants, copy.opset, copy._fresh = dict(self.constants), self.opset, self._fresh
        return copy

    def replace(self, old: str, new: str, where: Callable[[NodeProto], bool] = lambda node: True) -> None:
        """Let the nodes that read `old` (and that `where` accepts) read `new`. The graph's outputs do not change."""
        for node in self.consumers(old):
            if where(node):
                node.input[:] = [new if each == old else each for each in node.input]
        self.changed()

    def rename(self, old: str, new: str) -> None:
        """Rename a value everywhere. Another value that had the new name gets a fresh one."""
        if old == new:
            return
        if new in self.names():
            self.rename(new, self.fresh("renamed"))
        for node in self.nodes:
            _rename_in(node, old, new)
        for table in (self.constants, self.inputs, self.outputs, self.values):
            _rename_key(table, old, new)
        for infos in (self.inputs, self.outputs, self.values):
            if new in infos:
                infos[new].name = new
        self.changed()

    def names(self) -> set[str]:
        """All names of values."""
        made = {name for node in self.nodes for name in (*node.input, *node.output)}
        return (made | self.constants.keys() | self.inputs.keys() | self.outputs.keys()) - {""}

    def prune(self) -> None:
        """Remove the nodes that no output depends on, and sort the rest into an order in which they can run."""
        self.changed()
        needed = {id(node) for node in self.ancestors(self.outputs)}
        self.nodes = ordered([node for node in self.nodes if id(node) in needed])
        used = {name for node in self.nodes for name in reads(node)} | self.outputs.keys()
        self.constants = {name: array for name, array in self.constants.items() if name in used}
        self.changed()

    # -- writing

    def model(
        self,
        nodes: Sequence[NodeProto] | None = None,
        inputs: Mapping[str, ValueInfoProto] | None = None,
        outputs: Mapping[str, ValueInfoProto] | None = None,
        name: str = "network",
        constants: bool = True,
    ) -> ModelProto:
        """A model of the whole graph, or of some nodes between the given inputs and outputs."""
        nodes = self.nodes if nodes is None else nodes
        inputs = self.inputs if inputs is None else inputs
        outputs = self.outputs if outputs is None else outputs
        used = {each for node in nodes for each in reads(node)} | set(outputs)
        kept = {key: array for key, array in self.constants.items() if constants and key in used}
        weights = [numpy_helper.from_array(array, key) for key, array in kept.items()]
        graph = helper.make_graph(nodes, name, list(inputs.values()), list(outputs.values()), weights)
        own = {*inputs, *outputs}
        graph.value_info.extend(value for key, value in self.values.items() if key not in own)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted({node.domain for node in nodes} - {""})]
        return helper.make_model(graph, opset_imports=opsets, producer_name="trtmatte", ir_version=8)


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name, with text as str."""
    values = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def shape_of(value: ValueInfoProto) -> Shape | None:
    """A value's shape; None if its rank is unknown, and None for each unknown dimension."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(each.dim_value if each.HasField("dim_value") else each.dim_param or None for each in kind.shape.dim)


def is_made_up(name: str, stem: str) -> bool:
    """Report if `Graph.fresh` made a name of this stem."""
    return name.startswith(f"{_MADE_UP}{stem}/")


def _number(name: str) -> int:
    """The number of a name that `Graph.fresh` made up, in this graph or in one that it comes from; 0 for another."""
    last = name.rpartition("/")[2]
    return int(last) if name.startswith(_MADE_UP) and last.isdecimal() and len(last) < _LONGEST else 0


def _constant(node: NodeProto) -> Array:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    return np.array(value, np.int64 if attribute.name.startswith("value_int") else np.float32)


def _rename_in(node: NodeProto, old: str, new: str) -> None:
    node.input[:] = [new if each == old else each for each in node.input]
    node.output[:] = [new if each == old else each for each in node.output]
    for graph in subgraphs(node):
        for inner in graph.node:
            _rename_in(inner, old, new)
        for each in graph.output:
            each.name = new if each.name == old else each.name


def _rename_key(table: dict[str, Any], old: str, new: str) -> None:
    """Rename a key and keep the order, which matters for inputs and outputs."""
    if old in table:
        entries = [(new if key == old else key, value) for key, value in table.items()]
        table.clear()
        table.update(entries)
