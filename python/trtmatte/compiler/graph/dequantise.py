"""Dynamically quantised convolutions as plain ones.

ONNX Runtime's dynamic quantisation stores weights in 8 bits and rounds what a convolution reads to 8 bits as well, for
each picture anew: DynamicQuantizeLinear → ConvInteger → Cast → Mul. It makes files smaller. Few runtimes have these
operators, and where they do, they are slower than float32 or float16. Plain convolutions with the stored weights run
everywhere, and leave out the rounding of what they read.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes

__all__ = ["dequantise"]


def dequantise(graph: Graph) -> None:
    """Replace every convolution of integers whose scales can be found. In place."""
    found = graph.all("ConvInteger")
    for node in found:
        _replace(graph, node)
    if found:
        graph.prune()


def _replace(graph: Graph, node: NodeProto) -> None:
    quantised, weights = graph.producer(node.input[0]), graph.constant(node.input[1])
    if quantised is None or quantised.op_type != "DynamicQuantizeLinear" or weights is None:
        return
    if len(node.input) < 3 or node.input[2] != quantised.output[2]:
        return
    scaled = _only_reader(graph, node.output[0], "Mul")
    scale = None if scaled is None else _scale(graph, scaled, node.output[0], quantised.output[1])
    zero = graph.constant(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros(1)
    if scaled is None or scale is None or zero is None:
        return
    kernel = (weights.astype(np.float32) - _by_channel(zero)) * _by_channel(scale)
    inputs = [quantised.input[0], graph.add_constant(kernel.astype(np.float32), "kernel")]
    last = scaled
    biased = _only_reader(graph, scaled.output[0], "Add")
    bias = None if biased is None else _bias(graph, biased, scaled.output[0], len(kernel))
    if biased is not None and bias is not None:
        inputs.append(graph.add_constant(bias, "bias"))
        last = biased
    plain = helper.make_node("Conv", inputs, [last.output[0]], **attributes(node))
    graph.nodes[graph.nodes.index(last)] = plain
    graph.changed()


def _only_reader(graph: Graph, name: str, kind: str) -> NodeProto | None:
    readers = graph.down(name)
    return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None


def _scale(graph: Graph, scaled: NodeProto, name: str, of_picture: str) -> Array | None:
    """The scale of the weights: what the scale of the picture is multiplied by, before both scale the result."""
    product = graph.up(graph.other_input(scaled, name), "Mul")
    if product is None or of_picture not in product.input:
        return None
    return graph.constant(graph.other_input(product, of_picture))


def _bias(graph: Graph, biased: NodeProto, name: str, count: int) -> Array | None:
    """What is added to each channel."""
    other = graph.other_input(biased, name)
    shaped = graph.up(other, "Reshape")
    values = graph.constant(other if shaped is None else shaped.input[0])
    return values.ravel() if values is not None and values.size == count else None


def _by_channel(values: Array) -> Array:
    return values.astype(np.float32).reshape(-1, 1, 1, 1)
