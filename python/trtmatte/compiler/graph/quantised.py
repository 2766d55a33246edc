"""Dynamically quantised convolutions and products as float32.

Such a file holds its weights in bytes and quantises what a layer reads while it runs, which is made for download size.
GPUs have no operator for it, and on CPUs it is slower than float32 and less exact. Only the weights' rounding is left.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from onnx import NodeProto, helper

from trtmatte.compiler.graph.onnx_graph import Array, Graph, attributes
from trtmatte.errors import ModelError

__all__ = ["KINDS", "to_float32"]

_FLOAT_KINDS: Final = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
KINDS: Final = (*_FLOAT_KINDS, "DynamicQuantizeLinear")


def to_float32(graph: Graph) -> None:
    """Replace each dynamically quantised layer by one of float32. In place."""
    for node in graph.all(*_FLOAT_KINDS):
        _widen(graph, node)
    graph.prune()
    if left := graph.all(*KINDS):
        raise ModelError(
            f"this ONNX model quantises while it runs in a form that is not known here ({left[0].op_type} "
            f"{left[0].name!r}); take the file with weights in float32 or float16"
        )


def _widen(graph: Graph, node: NodeProto) -> None:
    quantise = graph.producer(node.input[0])
    scaled = _scaled(graph, node)
    if quantise is None or quantise.op_type != "DynamicQuantizeLinear" or scaled is None:
        return
    product, scale = scaled
    weights = graph.constant(node.input[1])
    weight_scale = _weight_scale(graph, scale, quantise.output[1])
    if weights is None or weight_scale is None:
        return
    zero_point = graph.constant(node.input[3]) if len(node.input) > 3 and node.input[3] else np.array(0)
    if zero_point is None:
        return
    exact = weights.astype(np.float32) - _along(zero_point, weights, node).astype(np.float32)
    stored = graph.add_constant(exact * _along(weight_scale, weights, node).astype(np.float32), "weights")
    last, bias = _bias(graph, product, weights.shape[0]) if node.op_type == "ConvInteger" else (product, [])
    layer = helper.make_node(
        _FLOAT_KINDS[node.op_type], [quantise.input[0], stored, *bias], [last.output[0]], name=node.name
    )
    layer.attribute.extend(node.attribute)
    graph.nodes[next(i for i, each in enumerate(graph.nodes) if each is last)] = layer
    graph.changed()


def _bias(graph: Graph, product: NodeProto, channels: int) -> tuple[NodeProto, list[str]]:
    """The last node of a convolution and its bias, if one for each channel is added."""
    sums = graph.consumers(product.output[0])
    if len(sums) == 1 and sums[0].op_type == "Add" and product.output[0] not in graph.outputs:
        added = graph.up(graph.other_input(sums[0], product.output[0]), "Reshape")
        values = None if added is None else graph.constant(added.input[0])
        if added is not None and values is not None and values.shape == (channels,):
            return sums[0], [added.input[0]]
    return product, []


def _scaled(graph: Graph, node: NodeProto) -> tuple[NodeProto, str] | None:
    """The product of a layer's whole numbers, as floats, with their scale; and the scale's name."""
    casts = graph.consumers(node.output[0])
    if len(casts) != 1 or casts[0].op_type != "Cast" or attributes(casts[0])["to"] != 1:
        return None
    products = graph.consumers(casts[0].output[0])
    if len(products) != 1 or products[0].op_type != "Mul":
        return None
    return products[0], graph.other_input(products[0], casts[0].output[0])


def _weight_scale(graph: Graph, scale: str, input_scale: str) -> Array | None:
    """The weights' part of a scale, the product of the input's and the weights'."""
    product = graph.producer(scale)
    if product is None or product.op_type != "Mul" or input_scale not in product.input:
        return None
    return graph.constant(graph.other_input(product, input_scale))


def _along(values: Array, weights: Array, node: NodeProto) -> Array:
    """One value, or one for each output channel, in the shape that fits the weights."""
    if values.size == 1:
        return values.reshape(())
    channels_first = node.op_type == "ConvInteger"
    return values.reshape((-1,) + (1,) * (weights.ndim - 1)) if channels_first else values.reshape(1, -1)
