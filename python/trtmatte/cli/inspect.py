"""`trtmatte inspect`: what a model file or an engine is, and which of its stages touch full frames."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtmatte.errors import ModelError, TrtmatteError
from trtmatte.program import MATTE, PICTURES, NetworkStage, Program, Stage

if TYPE_CHECKING:
    from onnx import ModelProto

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("inspect", help="say what a model or an engine is, stage by stage")
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file, a checkpoint or an engine (*.trtm)")
    parser.add_argument("--family", help="recognised from the content when left out")
    parser.add_argument("--size", type=_size, default=(1920, 1080), metavar="WxH", help="of the frames (1920x1080)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0: understood, 2: it is of no family that trtmatte knows, or almost one."""
    try:
        program, networks = _open(args)
    except TrtmatteError as error:
        print(f"trtmatte inspect: {error}", file=sys.stderr)
        if isinstance(error, ModelError):
            print(_unmatched(args.model), end="")
        return 2
    print(describe(program, networks))
    return 0


def describe(program: Program, networks: Sequence[ModelProto] = ()) -> str:
    """The program, a line a stage."""
    width, height = program.size
    settings = ", ".join(f"{key} {_value(value)}" for key, value in program.settings.items())
    lines = [
        f"family    {program.family}, {program.variant}",
        f"frames    {width}x{height}, batch {program.batch}" + (f"; {settings}" if settings else ""),
    ]
    if program.states:
        lines.append("states    " + ", ".join(f"{each.name} {_shape(program, each.input)}" for each in program.states))
    if program.outputs:
        lines.append("outputs   besides the matte: " + ", ".join(program.outputs))
    lines.append("stages")
    models = {stage.name: model for stage, model in zip(program.networks, networks, strict=False)}
    lines += [_stage(number, stage, program, models) for number, stage in enumerate(program.stages, 1)]
    return "\n".join(lines)


def _open(args: argparse.Namespace) -> tuple[Program, list[ModelProto]]:
    if args.model.suffix == ".trtm":
        from trtmatte import engine

        return engine.load(args.model).program, []
    from trtmatte.families import importing
    from trtmatte.graph.cut import cut

    return cut(importing.read(args.model, family=args.family, size=args.size))


def _stage(number: int, stage: Stage, program: Program, models: dict[str, ModelProto]) -> str:
    inputs = ", ".join(_named(program, name) for name in stage.inputs)
    outputs = ", ".join(_named(program, name) for name in stage.outputs if name)
    if isinstance(stage, NetworkStage):
        title, note = stage.name, _network(models[stage.name]) if stage.name in models else "network"
    else:
        pictures = [name for name in stage.inputs if name in PICTURES]
        title, note = stage.op, f"full frames: {', '.join(pictures)}" if pictures else "small tensors"
    return f"  {number}. {title} ({note})\n       {inputs}\n     → {outputs}"


def _network(model: ModelProto) -> str:
    weights = sum(_count(each.dims) for each in model.graph.initializer)
    return f"network, {len(model.graph.node)} nodes, {weights / 1e6:.2f} million weights"


def _named(program: Program, name: str) -> str:
    return name if name in PICTURES or name in MATTE else f"{name} {_shape(program, name)}"


def _shape(program: Program, name: str) -> str:
    return "x".join(str(size) for size in program.tensors[name].shape)


def _unmatched(path: Path) -> str:
    """What can be said of an ONNX file that no family takes."""
    from trtmatte.families import importing
    from trtmatte.graph import reading
    from trtmatte.graph.graph import Graph, shape_of

    def values(infos: dict[str, Any]) -> str:
        return ", ".join(f"{name} {list(shape_of(info) or ())}" for name, info in infos.items())

    try:
        graph: Graph | None = reading.load(path) if importing.is_onnx(path) else None
    except ModelError:
        graph = None
    if graph is None:
        return ""
    kinds = Counter(node.op_type for node in graph.nodes)
    operators = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"inputs    {values(graph.inputs)}\noutputs   {values(graph.outputs)}\noperators {operators}\n"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _count(dims: Sequence[int]) -> int:
    total = 1
    for size in dims:
        total *= size
    return total


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not (separator and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 1920x1080")
    return int(width), int(height)
