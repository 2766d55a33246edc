"""The cut: a trtmatte graph becomes a program and one ONNX model for each of its network stages."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from trtmatte.compiler.graph.functions import DOMAIN
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph, attributes, shape_of
from trtmatte.errors import ModelError
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import BACKGROUND, PICTURES, Attribute, NetworkStage, OpStage, Stage, Tensor

_NOT_THE_MODELS: Final = ("frame_", "matte_", "plugin_", "type")  # what the session decides, or the tensors say


def cut(model: ModelProto) -> tuple[Program, list[ModelProto]]:
    """The program of a trtmatte graph, and the models of its network stages in their order."""
    graph, spec = Graph(model), Spec.of(model)
    stages: list[Stage] = []
    networks: list[ModelProto] = []
    for plain, ops in _levels(graph):
        if plain:
            network, stage = _network(graph, plain, f"network-{len(networks)}")
            networks.append(network)
            stages.append(stage)
        stages += [_op(node, graph.constants) for node in ops]
    names = {name for stage in stages for name in (*stage.inputs, *stage.outputs)} - {"", *PICTURES, *MATTE_OUTPUTS}
    program = Program(
        family=spec.family,
        variant=spec.variant,
        size=spec.size,
        batch=spec.batch,
        tensors={name: _tensor(graph, name) for name in sorted(names)},
        stages=tuple(stages),
        states=spec.states,
        outputs=spec.outputs,
        settings=spec.settings,
    )
    return program, networks


def _levels(graph: Graph) -> list[tuple[list[NodeProto], list[NodeProto]]]:
    """Plain nodes and ops by the number of ops that come before them on the longest way to them."""
    level_of: dict[str, int] = {}
    levels: list[tuple[list[NodeProto], list[NodeProto]]] = []
    for node in graph.nodes:
        level = max((level_of.get(name, 0) for name in node.input), default=0)
        is_op = node.domain == DOMAIN
        while len(levels) <= level:
            levels.append(([], []))
        levels[level][is_op].append(node)
        level_of.update(dict.fromkeys(node.output, level + is_op))
    return levels


def _network(graph: Graph, nodes: Sequence[NodeProto], name: str) -> tuple[ModelProto, NetworkStage]:
    """The model of one stage: what it reads from outside, what others read of it."""
    own = {id(node) for node in nodes}
    made = {each for node in nodes for each in node.output if each}
    read = dict.fromkeys(each for node in nodes for each in node.input if each not in made)
    inputs = tuple(each for each in read if each and each not in graph.constants)
    outputs = tuple(
        each
        for node in nodes
        for each in node.output
        if each in graph.outputs or any(id(reader) not in own for reader in graph.consumers(each))
    )
    full_frames = [each for each in inputs if each in PICTURES]
    if full_frames:
        raise ModelError(f"{name} reads {', '.join(full_frames)}: full frames must pass through an op")
    model = graph.model(nodes, _infos(graph, inputs), _infos(graph, outputs), name)
    return model, NetworkStage(name, inputs, outputs)


def _op(node: NodeProto, constants: Container[str]) -> OpStage:
    kept = {key: _attribute(value) for key, value in attributes(node).items() if not key.startswith(_NOT_THE_MODELS)}
    outputs = MATTE_OUTPUTS if BACKGROUND in node.input else tuple(node.output)
    inputs = tuple(name for name in node.input if name not in constants)  # a constant stands for an input left out
    return OpStage(node.op_type.removeprefix("TrtMatte"), inputs, outputs, kept)


def _attribute(value: object) -> Attribute:
    if isinstance(value, (int, float)):
        return value
    assert isinstance(value, Sequence)
    return tuple(value)


def _infos(graph: Graph, names: Sequence[str]) -> dict[str, ValueInfoProto]:
    return {name: _info(graph, name) for name in names}


def _info(graph: Graph, name: str) -> ValueInfoProto:
    known: dict[str, ValueInfoProto] = {**graph.values, **graph.outputs, **graph.inputs}
    if name in known:
        return known[name]
    raise ModelError(f"the type and shape of {name} are not known; the graph was not specialised")


def _tensor(graph: Graph, name: str) -> Tensor:
    info = _info(graph, name)
    shape = shape_of(info)
    if shape is None or None in shape:
        raise ModelError(f"the shape of {name} is not known")
    dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    return Tensor(str(dtype), tuple(size for size in shape if size is not None))
