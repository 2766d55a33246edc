"""The join: a program and its networks become one ONNX model again, in the types that the networks compute in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from trtmatte.compiler.graph.matte_graph import Spec, add_matte, add_op, add_picture, assemble
from trtmatte.compiler.graph.onnx_graph import Graph, shape_of
from trtmatte.compiler.graph.ordering import subgraphs
from trtmatte.format.program import Program
from trtmatte.format.stages import PATCHES, NetworkStage, OpStage

_TYPED: Final = ("ForegroundEstimate", "FrameSample", "PatchCrop")  # the ops that give what their readers want


def join(program: Program, networks: Mapping[str, ModelProto]) -> ModelProto:
    """The trtmatte graph that `cut` takes apart, with these networks in it.

    All shapes are fixed: the number of patches is always the capacity, with unused patches at the end.
    """
    spec = Spec(**{each.name: getattr(program, each.name) for each in fields(Spec)})
    parts = {stage.name: _part(networks[stage.name], stage) for stage in program.networks}
    described = {name: _info(program, parts.values(), name) for name in program.tensors}

    graph = Graph(ModelProto())
    graph.opset = max(part.opset for part in parts.values())
    for name in program.pictures:
        add_picture(graph, name, spec)
    graph.inputs |= {state.input: described[state.input] for state in program.states}
    kept = (*program.outputs, *(state.output for state in program.states))
    graph.outputs = {name: described[name] for name in kept}
    for stage in program.stages:
        if isinstance(stage, NetworkStage):
            graph.nodes += parts[stage.name].nodes
            graph.constants |= parts[stage.name].constants
        elif stage is program.matte:
            add_matte(graph, stage.op, stage.inputs[:-1], spec, **stage.attributes)
        else:
            _add_op(graph, program, stage, described)
        if isinstance(stage, OpStage):
            graph.nodes[-1].name = f"{stage.op}/{stage.outputs[0]}"
    return assemble(graph, spec)


def _part(network: ModelProto, stage: NetworkStage) -> Graph:
    """A network whose inner names begin with its own name, so that the names of several networks differ."""
    part = Graph(network)
    names = {name: f"{stage.name}/{name}" for name in part.names() - {*stage.inputs, *stage.outputs}}
    part.nodes = [_renamed(node, names, stage.name) for node in part.nodes]
    part.constants = {names.get(name, name): array for name, array in part.constants.items()}
    return part


def _renamed(node: NodeProto, names: Mapping[str, str], prefix: str) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{prefix}/{node.name or node.output[0]}"
    _rename((copy,), names)
    return copy


def _rename(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in subgraphs(node):
            _rename(body.node, names)
            for value in body.output:
                value.name = names.get(value.name, value.name)


def _info(program: Program, parts: Iterable[Graph], name: str) -> ValueInfoProto:
    """A tensor in the type in which a network reads or writes it, or in the program's type."""
    tensor = program.tensors[name]
    infos = [table[name] for part in parts for table in (part.inputs, part.outputs) if name in table]
    element = infos[0].type.tensor_type.elem_type if infos else helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    shape = [program.capacity if size == PATCHES else size for size in tensor.shape]
    return helper.make_tensor_value_info(name, element, shape)


def _add_op(graph: Graph, program: Program, stage: OpStage, described: Mapping[str, ValueInfoProto]) -> None:
    outputs = {name: _kind(described[name]) for name in stage.outputs}
    settings = dict(stage.attributes)
    if stage.op in _TYPED:
        settings["type"] = outputs[stage.outputs[0]][0]
    if settings.get("mode") == 0:  # the body takes all that there are, the plugin has to be asked for no more
        settings["k"] = program.capacity // program.batch
    add_op(graph, stage.op, stage.inputs, outputs, **settings)


def _kind(value: ValueInfoProto) -> tuple[int, list[int | str]]:
    """The element type and the shape."""
    return value.type.tensor_type.elem_type, [size for size in shape_of(value) or () if size is not None]
