"""`trtmatte-build`: build an engine or an export from a model."""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trtmatte import api
from trtmatte.api import Engine
from trtmatte.cli import process, values
from trtmatte.cli.arguments import (
    Parser,
    add_family_flag,
    add_family_flags,
    add_old_name,
    add_safe_flag,
    add_version_flag,
    family_settings,
)
from trtmatte.compiler.export import ONNX, PLAN, SUFFIXES, Exported
from trtmatte.compiler.options import EXPORTS, PRECISIONS, TARGETS, Export, Options, read_recipe
from trtmatte.errors import SettingError
from trtmatte.format.file import SUFFIX
from trtmatte.format.outputs import COLORS, DTYPES, LAYOUTS, MATTE_OUTPUTS
from trtmatte.support import progress

_NAME: Final = "trtmatte-build"
_TARGET: Final = "library to compile a plan for; repeatable (default: all that this machine can build for)"
_EXPORT: Final = (
    f"plan: a TensorRT plan ({PLAN}); onnx: its graph ({ONNX}); triton: a Triton model repository, in -o DIR"
)
_OLD_LAYOUTS: Final = ("staged", "single")  # values of --layout before it meant HWC or CHW

Built = tuple[list[str], list[Path]]
"""The text about the result, and its files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 the build failed, 2 the input or a flag is wrong, as `trtmatte` otherwise."""
    chosen = process.parsed(_parser(), arguments)
    return process.finished(_NAME, lambda: _run(vars(chosen)))


def _run(given: dict[str, Any]) -> int:
    quiet, settings = given.pop("quiet"), given.pop("settings")
    process.log("", logging.DEBUG if given["verbose"] else logging.WARNING)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    given |= family_settings(given, settings)
    with progress.steps(quiet) as advance:
        build = _engine if _export_of(given) is None else _export
        about, files = build(given, progress=advance)
    if not quiet:
        for line in about:
            process.note(line)
    process.tell("\n".join(map(str, files)))
    return 0


def _engine(given: Mapping[str, Any], **more: Any) -> Built:
    options = dict(given)
    out = Path(options.pop("out") or _place(given["model"], SUFFIX))
    if options.pop("triton") is not None:
        raise SettingError("triton is given, but an engine is built; Triton takes an export: --export triton")
    engine = api.build(out=out, **more, **options)
    return _about_engine(engine), [out]


def _export(given: Mapping[str, Any], **more: Any) -> Built:
    options = dict(given)
    kind, out, triton = _export_of(given), options.pop("out"), given["triton"]
    options.pop("export")
    if options.pop("safe"):
        raise SettingError("safe is for engines, and an export is built; leave one of them out")
    if out is None and kind == "triton" and triton is None:
        raise SettingError("export is triton, and out is left out; expected the model repository: -o DIR")
    if out is None and triton is None:
        out = _place(given["model"], SUFFIXES[kind or "plan"])
    made = api.export(kind=kind, out=out, **options, **more)
    return _about_export(made), list(made.files)


def _export_of(given: Mapping[str, Any]) -> Export | None:
    """Return the kind of export in the flags or the recipe; None for an engine."""
    asked: list[Any] = [given["export"], "plan" if given["layout"] == "single" else None]
    path = Path(given["model"])
    if path.suffix == ".toml":
        recipe = read_recipe(path)[1]
        asked += [recipe.get("export"), "plan" if recipe.get("layout") == "single" else None]
    found: Export | None = next((each for each in asked if each is not None), None)
    if found == "plan" and given["export"] is None and str(given["out"] or "").endswith(ONNX):
        return "onnx"  # the old way to ask for the graph
    return found


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = Parser(
        _NAME, description="Build an engine (*.trtm) or an export from a matting model.", allow_abbrev=False
    )
    add = parser.add_argument
    add_version_flag(parser)
    add(
        "model",
        type=values.name,
        metavar="MODEL",
        help="an ONNX file, a checkpoint, a recipe (*.toml) or the name of a known model",
    )
    add(
        "-o",
        "--out",
        type=values.name,
        metavar=f"ENGINE{SUFFIX}",
        help="the file to write (default: in the current folder, or beside the recipe)",
    )
    add_family_flag(parser)
    add(
        "--size",
        type=values.size,
        metavar="WxH",
        help=f"frame size that the engine is meant for (default: {_joined(default.size)})",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help=f"precision on a GPU (default: {default.precision}); tf32 is fp32 with rounded products. "
        "The CPU always runs fp32",
    )
    add("--batch", type=values.whole(1), metavar="N", help=f"number of streams in lockstep (default: {default.batch})")
    add("--target", action="append", choices=TARGETS, help=_TARGET)
    add("--validate", action="store_true", help="measure the errors against fp32 and store them in the engine")
    add(
        "--frames",
        type=values.name,
        metavar="VIDEO",
        help="video or folder of pictures for --validate (default: generated)",
    )
    add("--force", action="store_true", help="build even if the cache has the engine")
    add(
        "--verbose",
        action="store_true",
        help="show TensorRT's messages, and store the layers of the plans in the engine",
    )
    add_safe_flag(parser)
    add("--quiet", action="store_true", help="print only files and errors")
    add_family_flags(parser.add_argument_group("settings of the model's family"))
    _add_export(parser.add_argument_group("exports, for use outside Python").add_argument, default)
    add_old_name(parser, "--backdrop", "--background", "background", type=values.name, metavar="B")
    add_old_name(parser, "--axes", "--layout", "layout", choices=LAYOUTS)
    return parser


def _add_export(add: Any, default: Options) -> None:
    form = default.form
    add("--export", choices=EXPORTS, help=_EXPORT)
    add("--triton", type=values.name, metavar="DIR", help="put the export into this Triton model repository as well")
    add(
        "--outputs",
        type=values.name,
        metavar="NAMES",
        help=f"{', '.join(MATTE_OUTPUTS)} and further outputs of the family, separated by commas (default: fgr,pha)",
    )
    add("--background", type=values.name, metavar="COLOR|FILE", help="background of the output composite")
    add("--dtype", choices=DTYPES, help=f"type of frames and mattes (default: {form.dtype})")
    add(
        "--layout",
        choices=(*LAYOUTS, *_OLD_LAYOUTS),
        metavar="{HWC,CHW}",
        help=f"layout of frames and mattes (default: {form.layout})",
    )
    add("--color", choices=COLORS, help=f"channel order of frames and mattes (default: {form.color})")


def _show_warning(message: Warning | str, *_: Any) -> None:
    """Print a notice in one line."""
    process.complain(_NAME, message)


def _place(model: str, suffix: str) -> str:
    path = Path(model)
    if path.suffix == ".toml":
        return str(path.with_suffix(suffix))
    return (path.stem if path.suffix else path.name) + suffix


def _about_engine(engine: Engine) -> list[str]:
    program = engine.program
    megabytes = sum(engine.members.values()) / 1e6
    targets = ", ".join(dict.fromkeys(("onnxruntime", *engine.plans)))
    about = f"{program.family} {program.variant} for {_joined(program.size)}, {targets}, {megabytes:.1f} MB"
    lines = [about, *(f"no plan for {name}: {reason}" for name, reason in engine.manifest["not_built"].items())]
    return [*lines, *_errors(engine.manifest["errors"])]


def _about_export(made: Exported) -> list[str]:
    graph, program = made.graph.graph, made.program
    inputs, outputs = (", ".join(each.name for each in values) for values in (graph.input, graph.output))
    about = f"{program.family} {program.variant} for {_joined(program.size)}, {inputs} → {outputs}"
    return [f"{about}, {made.files[-1].stat().st_size / 1e6:.1f} MB", *made.notes]


def _errors(errors: Mapping[str, Any]) -> Iterator[str]:
    for name, outputs in errors.get("measured", {}).items():
        for output, found in outputs.items():
            yield f"{name} {output}: " + ", ".join(f"{what} {value:.2g}" for what, value in found.items())
    for name, reason in errors.get("not_measured", {}).items():
        yield f"{name}: not measured, {reason}"


def _joined(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


if __name__ == "__main__":
    process.build()
