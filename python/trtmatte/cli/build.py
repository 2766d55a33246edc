"""`trtmatte-build`: a model in, an engine out."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from trtmatte.cli import progress
from trtmatte.cli.arguments import setting
from trtmatte.compiler import build as compiler
from trtmatte.compiler import export as single
from trtmatte.compiler.options import AXES, COLORS, DTYPES, LAYOUTS, PRECISIONS, TARGETS, Options, read_recipe
from trtmatte.errors import ModelError, SettingError, TrtmatteError
from trtmatte.format.file import SUFFIX, Engine

_NAME: Final = "trtmatte-build"
_INPUT_IS_WRONG: Final = (ModelError, SettingError)
_PLACES: Final = ("out", "triton")

Built = tuple[list[str], list[Path]]
"""What is told of what was built, and where it lies."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 the build failed, 2 the input or a flag is wrong."""
    given = vars(_parser().parse_args(arguments))
    quiet, settings = given.pop("quiet"), dict(given.pop("settings"))
    logging.basicConfig(format="%(message)s")
    logging.getLogger("trtmatte").setLevel(logging.DEBUG if given["verbose"] else logging.WARNING)
    try:
        with _terminated_as_interrupted(), progress.steps(quiet) as advance:
            build = _single if _layout(given) == "single" else _engine
            told, files = build(given, progress=advance, **settings)
    except TrtmatteError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 2 if isinstance(error, _INPUT_IS_WRONG) else 1
    except KeyboardInterrupt:
        print(f"{_NAME}: stopped; nothing is left behind", file=sys.stderr)
        return 130
    if not quiet:
        print("\n".join(told), file=sys.stderr)
    print("\n".join(map(str, files)))
    return 0


def _engine(given: Mapping[str, Any], **more: Any) -> Built:
    out = Path(given["out"] or _place(given["model"], SUFFIX))
    if given["triton"] is not None:
        raise SettingError("triton is given, but the layout is staged; Triton takes the layout single")
    engine = compiler.build(out=out, **more, **{name: value for name, value in given.items() if name not in _PLACES})
    return _of_engine(engine), [out]


def _single(given: Mapping[str, Any], **more: Any) -> Built:
    out = given["out"] or (None if given["triton"] else _place(given["model"], single.PLAN))
    made = single.build(**{**given, "out": out}, **more)
    return _of_single(made), list(made.files)


def _layout(given: Mapping[str, Any]) -> Any:
    """A recipe can say it too."""
    path = Path(given["model"])
    if given["layout"] is None and path.suffix == ".toml":
        return read_recipe(path)[1].get("layout")
    return given["layout"]


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = _Parser(_NAME, description="Makes an engine (*.trtm) of a matting model.", allow_abbrev=False)
    add = parser.add_argument
    add("model", metavar="MODEL", help="an ONNX file, a checkpoint, a recipe (*.toml) or the name of a known model")
    add("-o", "--out", metavar=f"ENGINE{SUFFIX}", help="where it is written (here, or beside the recipe); " + _SUFFIXES)
    add("--family", metavar="NAME", help="rvm, bgmv2, modnet, u2net or generic; recognised when left out")
    add("--size", metavar="WxH", help=f"the frame that the engine is meant for ({_joined(default.size)})")
    add("--downsample-ratio", metavar="R", help="rvm: a number, or auto (the default): the long side to 512")
    add("--backbone-scale", type=float, metavar="R", help="bgmv2 (0.25)")
    add("--refine-mode", metavar="M", help="bgmv2: sampling, thresholding or full")
    add("--refine-sample-pixels", type=int, metavar="N", help="bgmv2 (80000)")
    add("--refine-threshold", type=float, metavar="T", help="bgmv2 (0.1)")
    add("--refine-kernel-size", type=int, choices=(1, 3), help="bgmv2: checked against the model's")
    add("--prevent-oversampling", action=argparse.BooleanOptionalAction, help="bgmv2")
    add("--input-size", metavar="WxH", help="modnet, u2net, generic: what the network sees (the model's own rule)")
    add("--precision", choices=PRECISIONS, help=f"of plans ({default.precision}); the CPU always runs fp32")
    add("--batch", type=int, metavar="N", help=f"streams in lockstep ({default.batch})")
    add("--target", action="append", choices=TARGETS, help="repeatable; left out: all that this machine can build")
    add("--layout", choices=LAYOUTS, help="single: one TensorRT plan with the ops as plugins, for use outside Python")
    add("--outputs", metavar="NAMES", help=_single_only("of fgr, pha, rgba, composite, between commas (fgr,pha)"))
    add("--backdrop", metavar="COLOR|FILE", help=_single_only("what the output composite is made over"))
    add("--dtype", choices=DTYPES, help=_single_only(f"of frames and mattes ({default.form.dtype})"))
    add("--axes", choices=AXES, help=_single_only(f"of frames and mattes ({default.form.axes})"))
    add("--color", choices=COLORS, help=_single_only(f"of frames and mattes ({default.form.color})"))
    add("--triton", metavar="DIR", help=_single_only("put it into this model repository of Triton"))
    add("--set", type=setting, action="append", default=[], dest="settings", metavar="NAME=VALUE", help=_SETTINGS)
    add("--validate", action="store_true", help="measure the engine's errors against fp32 and keep them in it")
    add("--frames", metavar="VIDEO", help="validate with this video or folder of pictures (generated ones)")
    add("--force", action="store_true", help="build even what is built already")
    add("--verbose", action="store_true", help="what TensorRT says, and a report of the plans' layers in the engine")
    add("--quiet", action="store_true", help="print the engine's place and errors alone")
    return parser


def _single_only(text: str) -> str:
    return f"layout single: {text}"


_SUFFIXES: Final = f"layout single: NAME{single.PLAN}, or NAME{single.ONNX} for its graph"
_SETTINGS: Final = "another setting of the family, such as segmentation=true or mean=0.5,0.5,0.5"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """In one line."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists the flags\n")


def _place(model: str, suffix: str) -> str:
    path = Path(model)
    if path.suffix == ".toml":
        return str(path.with_suffix(suffix))
    return (path.stem if path.suffix else path.name) + suffix


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Being asked to end leaves as little behind as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _of_engine(engine: Engine) -> list[str]:
    program = engine.program
    megabytes = sum(engine.members.values()) / 1e6
    targets = ", ".join(dict.fromkeys(("onnxruntime", *engine.plans)))
    about = f"{program.family} {program.variant} for {_joined(program.size)}, {targets}, {megabytes:.1f} MB"
    lines = [about, *(f"no plan for {name}: {reason}" for name, reason in engine.manifest["not_built"].items())]
    return [*lines, *_errors(engine.manifest["errors"])]


def _of_single(made: single.Single) -> list[str]:
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
    raise SystemExit(main())
