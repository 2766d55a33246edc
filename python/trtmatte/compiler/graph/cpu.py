"""The form of a network that CPUs run fastest: the same values, other nodes.

Measured on RVM's 480x270 stage, two cores: ONNX Runtime takes 14 % less, OpenVINO 8 %. GPUs are better off without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from onnx import ModelProto, NodeProto

from trtmatte.compiler.graph.deform_conv import columns, has_deform_conv
from trtmatte.compiler.graph.onnx_graph import Graph, attributes, shape_of
from trtmatte.format.file import CPU_PLAN, DEFORM_CONV, Plan

_SIXTH: Final = 1 / 6
_VECTOR: Final = 16  # floats


def for_cpu(model: ModelProto) -> ModelProto:
    """A network stage in that form, with the same inputs and outputs; the model itself where there is nothing to do."""
    graph = Graph(model)
    before = [node.op_type for node in graph.nodes]
    for convolution in graph.all("Conv"):
        _split(graph, convolution)
    if graph.opset >= 14:
        for gate in graph.all("HardSigmoid"):
            _join(graph, gate)
    if [node.op_type for node in graph.nodes] == before:
        return model
    graph.prune()
    return graph.model(name=model.graph.name)


def plan(networks: Mapping[str, ModelProto]) -> list[Plan]:
    """The plan that holds the networks in that form; none where they are in it already.

    DeformConv stays in it: the engine's own networks have it as `deform_conv.sampled` writes it. The plan's `info`
    tells backends that it is there, and the bytes of its columns.
    """
    tuned = {name: for_cpu(model) for name, model in networks.items()}
    deforming = [name for name, model in tuned.items() if has_deform_conv(model)]
    changed = {
        name: model.SerializeToString()
        for name, model in tuned.items()
        if model is not networks[name] or name in deforming
    }
    info = {DEFORM_CONV: max(map(columns, tuned.values()))} if deforming else {}
    return [Plan(*CPU_PLAN, changed, info)] if changed else []


def _split(graph: Graph, convolution: NodeProto) -> None:
    """A convolution over concatenated channels becomes a sum of convolutions.

    Concatenating copies, unless all parts fill whole vectors: then the runtimes merely put them side by side.
    """
    joined, weights = graph.producer(convolution.input[0]), graph.constants.get(convolution.input[1])
    if joined is None or joined.op_type != "Concat" or weights is None or not _is_over_channels(joined):
        return
    widths = [_channels(graph, name) for name in joined.input]
    if not all(widths) or sum(widths) != weights.shape[1]:  # of an unknown width, or in groups
        return
    if sum(widths) < _VECTOR or not any(width % _VECTOR for width in widths):  # the first: little is copied
        return
    graph.nodes.remove(convolution)
    parts, start = [], 0
    for part, width in zip(joined.input, widths, strict=True):
        kernel = graph.add_constant(weights[:, start : start + width].copy(), "kernel")
        bias = convolution.input[2:] if start == 0 else []
        parts.append(graph.add("Conv", [part, kernel, *bias], **attributes(convolution)))
        start += width
    total = parts.pop(0)
    for part in parts[:-1]:
        total = graph.add("Add", [total, part])
    graph.add("Add", [total, parts[-1]], convolution.output[0])


def _join(graph: Graph, gate: NodeProto) -> None:
    """`x * HardSigmoid(x)` becomes HardSwish(x), which the runtimes do in one go."""
    settings, readers = attributes(gate), graph.consumers(gate.output[0])
    half = abs(settings.get("alpha", 0.2) - _SIXTH) < 1e-6 and settings.get("beta", 0.5) == 0.5
    product = readers[0] if len(readers) == 1 and gate.output[0] not in graph.outputs else None
    if product is None or product.op_type != "Mul" or not half:
        return
    if sorted(product.input) != sorted((gate.input[0], gate.output[0])):
        return
    product.op_type = "HardSwish"
    product.input[:] = [gate.input[0]]
    graph.nodes.remove(gate)
    graph.changed()


def _is_over_channels(joined: NodeProto) -> bool:
    return len(joined.input) > 1 and attributes(joined)["axis"] in (1, -3)


def _channels(graph: Graph, name: str) -> int:
    """0 where they are not known."""
    value = graph.values.get(name) or graph.inputs.get(name)
    shape = None if value is None else shape_of(value)
    return shape[1] if shape is not None and len(shape) == 4 and isinstance(shape[1], int) else 0
