"""Reports on model files and engines: facts for machines, and a text of 100 columns for people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.errors import EngineError, ModelError, printable
from trtmatte.format import file as engine_file
from trtmatte.format.archive import BUILD_AGAIN
from trtmatte.format.file import EngineFile
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import PATCHES, PICTURES, OpStage, Stage
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

Facts = dict[str, Any]

_COLUMNS: Final = 100
_HEAD: Final = 10  # columns before what a line says
_SHOWN_OPERATORS: Final = 12
_STAYS: Final = "\0"  # a space at which no line may end
_PATCHES: Final = "N"
_MOST: Final = 10**18  # weights or multiplications of a network; a file may say more than a float can hold


# ---------------------------------------------------------------------------------------------------------------------
# Facts


def inspect(
    path: Path,
    *,
    family: str | None = None,
    size: tuple[int, int] = (1920, 1080),
    batch: int = 1,
    settings: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Facts:
    """The facts about an engine, or about the program that a model file becomes with these options, as JSON values.

    `limits` are for files of strangers, which then must have their weights inside.
    """
    if path.suffix == engine_file.SUFFIX:
        return of_engine(engine_file.read(path, limits))
    from trtmatte.compiler import importing

    if limits is not None and path.is_file() and path.stat().st_size > limits.file_bytes:
        raise ModelError(f"{path} has {path.stat().st_size} bytes; expected at most {limits.file_bytes} in safe mode")
    model = importing.read(
        path, family=family, size=size, batch=batch, self_contained=limits is not None, **(settings or {})
    )
    from trtmatte.compiler.families import reading  # needs onnx
    from trtmatte.compiler.graph.cut import cut

    kind = "onnx" if reading.is_onnx(path) else "checkpoint"
    return {"kind": kind, **of_program(*cut(model))}


def of_engine(engine: EngineFile) -> Facts:
    manifest = engine.manifest
    kept = ("format", "made_by", "source", "plans", "errors")
    about = {name: manifest[name] for name in kept if name in manifest} | {"members": engine.members}
    return {"kind": "engine", **of_program(engine.program, _networks(engine), is_ours=False), "engine": about}


def of_program(program: Program, networks: Sequence[ModelProto] = (), *, is_ours: bool = True) -> Facts:
    """The facts about a program, and about those of its networks that are given, in the program's order.

    Networks that we have just made have shapes that onnx may infer. A file's could make it abort the process.
    """
    models = dict(zip((stage.name for stage in program.networks), networks, strict=False))
    return {
        "family": program.family,
        "variant": program.variant,
        "size": list(program.size),
        "batch": program.batch,
        "settings": dict(program.settings),
        "states": [{**_value(program, each.input), "name": each.name} for each in program.states],
        "outputs": list(program.outputs),
        "patches": program.capacity,
        "stages": [_stage(stage, program, models, is_ours) for stage in program.stages],
    }


def of_unmatched(path: Path) -> Facts:
    """The facts about an ONNX file that matches no family; none for a file that cannot be read."""
    from collections import Counter

    from trtmatte.compiler.families.reading import is_onnx
    from trtmatte.compiler.graph import reading
    from trtmatte.compiler.graph.onnx_graph import shape_of

    try:
        if not is_onnx(path):
            return {}
        graph = reading.parse(path).graph
    except ModelError:
        return {}
    weights = {each.name for each in graph.initializer}
    return {
        "inputs": [
            {"name": each.name, "shape": list(shape_of(each) or ())} for each in graph.input if each.name not in weights
        ],
        "outputs": [{"name": each.name, "shape": list(shape_of(each) or ())} for each in graph.output],
        "operators": dict(Counter(each.op_type for each in graph.node if each.op_type != "Constant").most_common()),
    }


def _networks(engine: EngineFile) -> list[ModelProto]:
    """The networks of an engine; none on a machine without onnx, which can still run engines."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        return []
    try:
        return [onnx.load_from_string(engine.network(stage.name)) for stage in engine.program.networks]
    except (ValueError, RecursionError, DecodeError) as error:
        raise EngineError(f"the networks of {engine} cannot be read ({error}): {BUILD_AGAIN}") from error


def _stage(stage: Stage, program: Program, models: Mapping[str, ModelProto], is_ours: bool) -> Facts:
    facts: Facts = {
        "inputs": [_value(program, name) for name in stage.inputs],
        "outputs": [_value(program, name) for name in stage.outputs if name],
    }
    if isinstance(stage, OpStage):
        attributes = {
            name: list(value) if isinstance(value, tuple) else value for name, value in stage.attributes.items()
        }
        return {"kind": "op", "name": stage.op, **facts, "full_frames": _full_frames(stage), "attributes": attributes}
    facts = {"kind": "network", "name": stage.name, **facts, "full_frames": _full_frames(stage)}
    return facts | (_network(models[stage.name], program, is_ours) if stage.name in models else {})


def _full_frames(stage: Stage) -> Facts:
    return {
        "read": [name for name in stage.inputs if name in PICTURES],
        "written": [name for name in stage.outputs if name in MATTE_OUTPUTS] if isinstance(stage, OpStage) else [],
    }


def _value(program: Program, name: str) -> Facts:
    """Name, shape and type. Pictures and mattes have the frame's size, so that only their names are listed."""
    if name not in program.tensors:
        return {"name": name}
    tensor = program.tensors[name]
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _network(model: ModelProto, program: Program, is_ours: bool) -> Facts:
    """`macs` counts the multiplications of convolutions and matrices in one run, with the largest number of patches."""
    macs = _macs(_with_patches(model, program.capacity) if is_ours else model)
    return {
        "nodes": len(model.graph.node),
        "weights": min(_MOST, sum(math.prod(each.dims) for each in model.graph.initializer)),
        "macs": None if macs is None else min(_MOST, macs),
    }


def _macs(model: ModelProto) -> int | None:
    """The multiplications; None if the model lacks a shape that they depend on."""
    graph = model.graph
    shapes = {each.name: _shape(each) for each in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {each.name: tuple(each.dims) for each in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            count = _multiplications(node, shapes)
            if count is None:
                return None
            total += count
    return total


def _with_patches(model: ModelProto, patches: int) -> ModelProto:
    """A network over patches with its shapes for this many; other networks unchanged."""
    from onnx import ModelProto, shape_inference

    if not any(_is_open(each) for each in model.graph.input):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in filter(_is_open, copy.graph.input):
        value.type.tensor_type.shape.dim[0].dim_value = patches
    return shape_inference.infer_shapes(copy, data_prop=True)


def _is_open(value: ValueInfoProto) -> bool:
    sizes = value.type.tensor_type.shape.dim
    return bool(sizes) and sizes[0].dim_param == PATCHES


def _multiplications(node: NodeProto, shapes: Mapping[str, tuple[int, ...] | None]) -> int | None:
    first, weights, result = (shapes.get(name) for name in (*[*node.input, "", ""][:2], *[*node.output, ""][:1]))
    if not first or weights is None or result is None:
        return None
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(weights[1:])
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(result) * first[0 if transposed else -1]


def _shape(value: ValueInfoProto) -> tuple[int, ...] | None:
    sizes = tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
    return sizes if sizes and all(sizes) else None


# ---------------------------------------------------------------------------------------------------------------------
# Text


def describe(facts: Facts) -> str:
    """The facts of `inspect` as text."""
    width, height = facts["size"]
    settings = ", ".join(f"{name} {_text(value)}" for name, value in facts["settings"].items())
    lines = [
        _line("family", f"{facts['family']}, {facts['variant']}"),
        _line("frames", f"{width}x{height}, batch {facts['batch']}" + (f"; {settings}" if settings else "")),
    ]
    if facts["states"]:
        lines.append(_line("states", ", ".join(map(_named, facts["states"]))))
    if facts["outputs"]:
        lines.append(_line("outputs", "besides the matte: " + ", ".join(facts["outputs"])))
    if facts["patches"]:
        lines.append(_line("patches", f"{_PATCHES}, {facts['patches']} at most"))
    lines.append(_line("full size", _touched(facts["stages"])))
    if "engine" in facts:
        lines += _engine_lines(facts["engine"])
    lines.append("stages")
    for number, stage in enumerate(facts["stages"], 1):
        lines += _stage_lines(number, stage)
    return printable("\n".join(lines))


def describe_unmatched(facts: Facts) -> str:
    operators = [f"{name} {count}" for name, count in facts["operators"].items()]
    more = len(operators) - _SHOWN_OPERATORS
    shown = ", ".join(operators[:_SHOWN_OPERATORS]) + (f" and {more} more kinds" if more > 0 else "")
    return printable(
        "\n".join(
            [
                _line("inputs", ", ".join(f"{each['name']} {each['shape']}" for each in facts["inputs"])),
                _line("outputs", ", ".join(f"{each['name']} {each['shape']}" for each in facts["outputs"])),
                _line("operators", shown),
            ]
        )
    )


def _touched(stages: Sequence[Facts]) -> str:
    """The stages that read or write full frames."""
    found = [
        f"{stage['name']} (stage {number}) {_frames_text(stage)}"
        for number, stage in enumerate(stages, 1)
        if any(stage["full_frames"].values())
    ]
    return "; ".join(found)


def _frames_text(stage: Facts) -> str:
    frames = stage["full_frames"]
    parts = [
        f"{verb} {', '.join(frames[key])}" for verb, key in (("reads", "read"), ("writes", "written")) if frames[key]
    ]
    return " and ".join(parts)


def _stage_lines(number: int, stage: Facts) -> list[str]:
    note = _network_note(stage) if stage["kind"] == "network" else _op_note(stage)
    inputs, outputs = (", ".join(map(_named, stage[side])) for side in ("inputs", "outputs"))
    return [
        f"  {number}. {stage['name']} ({note})",
        _wrapped("       ", inputs),
        _wrapped("     → ", outputs),
    ]


def _op_note(stage: Facts) -> str:
    pictures = stage["full_frames"]["read"]
    return f"full frames: {', '.join(pictures)}" if pictures else "small tensors"


def _network_note(stage: Facts) -> str:
    if "nodes" not in stage:
        return "network"
    macs = "" if stage["macs"] is None else f", {stage['macs'] / 1e9:.2f} G multiplications"
    return f"network, {stage['nodes']} nodes, {stage['weights'] / 1e6:.2f} million weights{macs}"


def _engine_lines(about: Facts) -> list[str]:
    plans = ", ".join(f"{plan['target']} {plan['key']}" for plan in about.get("plans", ()))
    lines = [_line("engine", f"format {about['format']}, made by {about['made_by']}")]
    if about.get("source"):
        lines.append(_line("source", ", ".join(f"{name} {_text(value)}" for name, value in about["source"].items())))
    lines.append(_line("plans", plans or "none: CPU backends alone, or built at first use"))
    lines.append(_line("errors", _errors_text(about.get("errors", {}))))
    total = sum(about["members"].values())
    return [*lines, _line("members", f"{len(about['members'])}, {total / 1e6:.1f} MB")]


def _errors_text(errors: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in errors.items()) or "not measured"


def _named(value: Facts) -> str:
    """Name and shape, which stay on one line."""
    if "shape" not in value:
        return str(value["name"])
    sizes = (_PATCHES if size == PATCHES else str(size) for size in value["shape"])
    return f"{value['name']}{_STAYS}{'x'.join(sizes)}"


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(_text(each) for each in value) if all(isinstance(v, int) for v in value) else _joined(value)
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_text(each)}" for name, each in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(values: Sequence[object]) -> str:
    return " ".join(_text(each) for each in values)


def _line(head: str, text: str) -> str:
    return _wrapped(head.ljust(_HEAD), text)


def _wrapped(head: str, text: str) -> str:
    """Wrap text. Words that are longer than a line, such as hashes, are not broken."""
    filled = textwrap.fill(
        text,
        _COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_STAYS, " ")
