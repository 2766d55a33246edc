"""The order of nodes: ONNX wants every value made before it is read. Converters to float16, for one, break that."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, NodeProto

from trtmatte.errors import ModelError
from trtmatte.support.text import shown

__all__ = ["ordered", "reads", "sort", "subgraphs"]


def sort(graph: GraphProto) -> None:
    """Sort the nodes of a graph and of the bodies in it. In place. Raises a ModelError for nodes in a circle."""
    for node in graph.node:
        for body in subgraphs(node):
            sort(body)
    nodes = list(graph.node)
    sorted_nodes = ordered(nodes)
    if any(one is not other for one, other in zip(nodes, sorted_nodes, strict=True)):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in sorted_nodes]
        del graph.node[:]
        graph.node.extend(copies)


def ordered(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes with every producer before its consumers, otherwise in their old order."""
    maker = {output: index for index, node in enumerate(nodes) for output in node.output if output}
    ready: list[NodeProto] = []
    begun: set[int] = set()
    done: set[int] = set()
    for start in range(len(nodes)):
        pending = [start]
        while pending:
            index = pending[-1]
            before = [maker[name] for name in reads(nodes[index]) if name in maker and maker[name] not in done]
            if index in done:
                pending.pop()
            elif not before:
                done.add(pending.pop())
                ready.append(nodes[index])
            elif index in begun:
                raise ModelError(_circle(nodes[index]))
            else:
                begun.add(index)
                pending += before
    return ready


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """The bodies of an If or a Loop."""
    return [graph for each in node.attribute for graph in (*each.graphs, *([each.g] if each.HasField("g") else []))]


def reads(node: NodeProto) -> list[str]:
    """The values that a node needs: its inputs, and the outer values that its bodies read."""
    names = list(node.input)
    for graph in subgraphs(node):
        made = {name for inner in graph.node for name in inner.output}
        made |= {each.name for each in (*graph.initializer, *graph.input)}
        inside = [name for inner in graph.node for name in reads(inner)] + [each.name for each in graph.output]
        names += [name for name in inside if name not in made]
    return names


def _circle(node: NodeProto) -> str:
    made = ", ".join(shown(name) for name in node.output if name)
    return f"the {shown(node.op_type)} that makes {made} reads what is computed from it; export the model again"
