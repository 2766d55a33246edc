"""Raising a graph in place to a newer opset, for an operator that older ones lack.

`onnx.version_converter` does it for whole models; a graph in the middle of a rewriting is no valid model yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from onnx import NodeProto, helper

from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.ordering import subgraphs
from trtmatte.errors import ModelError

__all__ = ["DEFORM_CONV", "raise_to"]

DEFORM_CONV: Final = 19
"""The first opset that has DeformConv."""

_OLDEST: Final = 17
_AXES_BECAME_INPUTS: Final = frozenset(
    f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)


def raise_to(graph: Graph, opset: int) -> None:
    """Raise a graph of opset 17 or later to 18 or 19, unless it has that or a newer one. In place.

    Opset 18 takes the axes of reductions as an input, and wants a Split without sizes to say into how many parts.
    """
    if graph.opset >= opset:
        return
    if graph.opset < _OLDEST or opset > DEFORM_CONV:
        raise ModelError(
            f"a graph of opset {graph.opset} cannot be raised to {opset}; expected {_OLDEST} or later, and at most "
            f"{DEFORM_CONV} to be raised to: export the model with that opset"
        )
    if graph.opset < 18 <= opset:
        _adapt(graph, graph.nodes)
    graph.opset = opset
    graph.changed()


def _adapt(graph: Graph, nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        if node.op_type in _AXES_BECAME_INPUTS:
            _move_axes(graph, node)
        elif node.op_type == "Split" and len(node.input) == 1:
            node.attribute.append(helper.make_attribute("num_outputs", len(node.output)))
        for body in subgraphs(node):
            _adapt(graph, body.node)


def _move_axes(graph: Graph, node: NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "axes":
            node.input.append(graph.add_constant(np.array(attribute.ints, np.int64), "axes"))
            node.attribute.remove(attribute)
            return
