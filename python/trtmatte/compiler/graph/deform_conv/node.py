"""ONNX's DeformConv: a convolution whose kernel reads the picture at positions that offsets move.

For each output position and each tap of the kernel, `offset` holds how far down and how far right of its usual place
the tap reads, and `mask`, if there is one, a factor. Between pixels it interpolates linearly, and outside of the
picture it reads zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto, NodeProto

from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.compiler.graph.specialise import static_shape

__all__ = ["KIND", "Deformation", "Pair", "columns", "deformation", "has_deform_conv"]

KIND: Final = "DeformConv"
Pair = tuple[int, int]
"""Down and across."""


@dataclass(frozen=True)
class Deformation:
    """A DeformConv: the names of its inputs, "" for one that it lacks, and its numbers."""

    picture: str
    weights: str
    offset: str
    bias: str
    mask: str
    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: tuple[int, int, int, int]  # above, left, below, right
    group: int
    offset_group: int

    def add_to(self, graph: Graph, output: str) -> None:
        """Add the node that makes `output`. The graph must have opset 19 or later."""
        inputs = [self.picture, self.weights, self.offset, self.bias, self.mask]
        while not inputs[-1]:
            inputs.pop()
        graph.add(
            KIND,
            inputs,
            output,
            kernel_shape=self.kernel,
            strides=self.strides,
            dilations=self.dilations,
            pads=self.pads,
            group=self.group,
            offset_group=self.offset_group,
        )


def deformation(graph: Graph, node: NodeProto) -> Deformation | None:
    """A DeformConv node in this form; None if its kernel's size is not known, or if it is not two-dimensional."""
    weights = static_shape(graph, node.input[1])
    if weights is None or len(weights) != 4:
        return None
    settings = attributes(node)
    _, _, bias, mask = (*node.input[1:], "", "")[:4]
    return Deformation(
        picture=node.input[0],
        weights=node.input[1],
        offset=node.input[2],
        bias=bias,
        mask=mask,
        kernel=(weights[2], weights[3]),
        strides=_pair(settings.get("strides", (1, 1))),
        dilations=_pair(settings.get("dilations", (1, 1))),
        pads=_four(settings.get("pads", (0, 0, 0, 0))),
        group=int(settings.get("group", 1)),
        offset_group=int(settings.get("offset_group", 1)),
    )


def has_deform_conv(model: ModelProto) -> bool:
    return any(node.op_type == KIND for node in model.graph.node)


def columns(model: ModelProto) -> int:
    """The bytes of all values that the largest DeformConv of a model samples, which some libraries hold at once."""
    graph = Graph(model)
    return max((_columns(graph, node) for node in graph.all(KIND)), default=0)


def _columns(graph: Graph, node: NodeProto) -> int:
    picture, weights, offset = (static_shape(graph, name) for name in node.input[:3])
    if picture is None or weights is None or offset is None:
        return 0
    return 4 * math.prod(picture[:2]) * math.prod(weights[2:]) * math.prod(offset[2:])


def _pair(values: tuple[int, ...] | list[int]) -> Pair:
    down, across = values
    return int(down), int(across)


def _four(values: tuple[int, ...] | list[int]) -> tuple[int, int, int, int]:
    above, left, below, right = values
    return int(above), int(left), int(below), int(right)
