"""The small language of the function bodies, and the ONNX functions made from them.

A body is written in ONNX's own text format, with two conveniences that become `Constant` nodes: `#2`, `#0.5` and `#[2]`
are constants (int64, float, int64 vector), and `@name` as an operand is the value of that attribute.

No function calls another, no operator is used that a later opset writes differently, and nothing branches: where a
setting decides, `Where` chooses between small tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from onnx import FunctionProto, parser

from trtmatte.errors import ModelError

__all__ = ["DOMAIN", "IR_VERSION", "OPSET", "VERSION", "Op", "Required", "Value", "as_kind", "kind_of", "parse"]

DOMAIN: Final = "trtmatte"
VERSION: Final = 1
OPSET: Final = 17
IR_VERSION: Final = 8

Value = int | float | Sequence[int] | Sequence[float]


class Required(Enum):
    """Stands for the default of an attribute that has none."""

    INT = "int"
    INTS = "ints"


@dataclass(frozen=True)
class Op:
    """The form of an op's node: its inputs, outputs, attributes with their defaults, and its body."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, tuple[int | str, int]]  # the element type, or the attribute that states it; the rank
    attributes: Mapping[str, Value | Required]
    body: str


def parse(name: str, op: Op) -> FunctionProto:
    """The ONNX function of an op."""
    attributes = ", ".join(
        key if isinstance(default, Required) else f"{key}: {kind_of(default)} = {_literal(default)}"
        for key, default in op.attributes.items()
    )
    return parser.parse_function(
        f'''<opset_import: ["" : {OPSET}], domain: "{DOMAIN}">
        TrtMatte{name} <{attributes}> ({", ".join(op.inputs)}) => ({", ".join(op.outputs)}) {{
        {_hoist(op.body, op.attributes)}
        }}'''
    )


def _hoist(body: str, attributes: Mapping[str, Value | Required]) -> str:
    """Turn the operands `#constant` and `@attribute` into Constant nodes before the body."""
    constants: dict[str, str] = {}

    def name_of(match: re.Match[str]) -> str:
        before, sign, operand = match.groups()
        if sign == "@":
            kind = kind_of(attributes[operand])
            name = f"given_{operand}"
            constants[name] = f"Constant <value_{kind}: {kind} = @{operand}> ()"
        else:
            name = "constant_" + re.sub(r"\W", lambda other: {"-": "minus", ".": "p"}.get(other[0], "_"), operand)
            constants[name] = f"Constant <{_constant(operand)}> ()"
        return before + name

    body = re.sub(r"([(,]\s*)([#@])(\[[^]]*\]|[-\w.]+)", name_of, body)
    return "\n".join(f"{name} = {constant}" for name, constant in constants.items()) + body


def _constant(operand: str) -> str:
    """The attribute of a constant. The inference of shapes in ONNX 1.19 reads lists that are tensors alone."""
    if operand.startswith("["):
        numbers = operand.strip("[]").split(",")
        return f"value = int64[{len(numbers)}] {{{','.join(numbers)}}}"
    kind = "float" if "." in operand else "int"
    return f"value_{kind}: {kind} = {operand}"


def kind_of(value: Value | Required) -> str:
    """The ONNX name of an attribute's type."""
    if isinstance(value, Required):
        return value.value
    if isinstance(value, Sequence):
        return kind_of(value[0]) + "s"
    return "float" if isinstance(value, float) else "int"


def _literal(value: Value) -> str:
    return str(list(value) if isinstance(value, Sequence) else value)


def as_kind(op: str, key: str, value: Value, kind: str) -> Value:
    """The value with exactly the type that the body reads: an int where a float is meant would be misread."""
    convert: type[int] | type[float] = float if kind.startswith("float") else int
    if isinstance(value, Sequence) != kind.endswith("s"):
        raise ModelError(f"{op}'s attribute {key} is {value!r}; expected {kind}")
    return [convert(each) for each in value] if isinstance(value, Sequence) else convert(value)
