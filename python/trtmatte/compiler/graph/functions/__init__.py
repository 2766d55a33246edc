"""The ops as ONNX functions of standard operators: the executable specification of `docs/ops.md`.

Every module of this folder that offers an `OP` is an op; its name is the module's in capitals: `frame_sample.py` is
FrameSample.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from onnx import FunctionProto, ModelProto, NodeProto, helper

from trtmatte.compiler.graph.functions.language import (
    DOMAIN,
    IR_VERSION,
    OPSET,
    VERSION,
    Op,
    Required,
    Value,
    as_kind,
    kind_of,
    parse,
)
from trtmatte.errors import ModelError

__all__ = ["DOMAIN", "OPS", "OPSET", "VERSION", "Required", "Value", "function", "functions", "model", "node"]


def _ops() -> dict[str, Op]:
    modules = {each.name: importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)}
    return {name.title().replace("_", ""): each.OP for name, each in modules.items() if hasattr(each, "OP")}


OPS: Final[Mapping[str, Op]] = _ops()


def functions(opset: int = OPSET) -> list[FunctionProto]:
    """The bodies of all ops."""
    return [function(op, opset) for op in OPS]


def function(op: str, opset: int = OPSET) -> FunctionProto:
    """The body of one op, for a model of this opset (17 or later)."""
    copy = FunctionProto()
    copy.CopyFrom(_function(op))
    copy.opset_import[0].version = opset
    return copy


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Value) -> NodeProto:
    """A node of the op. Attributes left out get their defaults; outputs that nobody wants may be left empty."""
    spec = _op(op)
    for kind, given, expected in (("inputs", inputs, spec.inputs), ("outputs", outputs, tuple(spec.outputs))):
        if len(given) != len(expected):
            raise ModelError(f"{op} has the {kind} {', '.join(expected)}, but {len(given)} were given")
    unknown = attributes.keys() - spec.attributes.keys()
    if unknown:
        raise ModelError(f"{op} has no attribute {', '.join(sorted(unknown))}; it has {', '.join(spec.attributes)}")
    missing = {key for key, value in spec.attributes.items() if isinstance(value, Required)} - attributes.keys()
    if missing:
        raise ModelError(f"{op} needs the attribute {', '.join(sorted(missing))}")

    proto = helper.make_node(f"TrtMatte{op}", inputs, outputs, domain=DOMAIN)
    values = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
    proto.attribute.extend(helper.make_attribute(key, value) for key, value in values.items())
    for key, default in spec.attributes.items():
        value = attributes.get(key, default)
        assert not isinstance(value, Required)
        proto.attribute.append(helper.make_attribute(key, as_kind(op, key, value, kind_of(default))))
    return proto


def model(
    op: str,
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[str],
    **attributes: Value,
) -> ModelProto:
    """A model of one node. An input is its name, ONNX element type and shape; outputs left empty are not computed."""
    proto = node(op, [name for name, _, _ in inputs], outputs, **attributes)
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in proto.attribute}
    results = []
    for name, (element, rank) in zip(outputs, _op(op).outputs.values(), strict=True):
        if name:
            element = settings[element] if isinstance(element, str) else element
            results.append(helper.make_tensor_value_info(name, element, [None] * rank))
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    graph = helper.make_graph([proto], op, [helper.make_tensor_value_info(*given) for given in inputs], results)
    return helper.make_model(graph, functions=[function(op)], opset_imports=imports, ir_version=IR_VERSION)


def _op(op: str) -> Op:
    if op not in OPS:
        raise ModelError(f"{op} is not an op of trtmatte: {', '.join(OPS)}")
    return OPS[op]


@cache
def _function(op: str) -> FunctionProto:
    return parse(op, _op(op))
