"""The flags for models and sessions that commands share, and the engine and session options that they select."""

from __future__ import annotations

import argparse
import logging
from typing import Any, Final

from trtmatte.api import Engine, build, load
from trtmatte.backends import registry as backends
from trtmatte.cli import scripts, values
from trtmatte.cli.arguments import add_family_flag, add_family_flags, add_safe_flag, family_settings
from trtmatte.cli.process import note
from trtmatte.compiler.options import PRECISIONS
from trtmatte.errors import SettingError
from trtmatte.reports.fit import fit_warning
from trtmatte.support import progress

__all__ = ["DEFAULT_MODEL", "add_arguments", "add_device_flags", "engine", "model_or_engine", "session_arguments"]

DEFAULT_MODEL: Final = "rvm-mobilenetv3"
"""For films, cameras and portraits: of the models that are downloaded by name it is the smallest, and it has a source
that is a package."""

_LOG: Final = logging.getLogger("trtmatte")
_DEVICE: Final = (
    "cpu, cuda or cuda:N (default: a GPU if one can run the model, otherwise the CPU; onnxruntime: the CPU)"
)


def add_arguments(parser: argparse.ArgumentParser, *, default: str | None = DEFAULT_MODEL) -> None:
    """Add `--engine`, `--model` and their flags. The names are those of `trtmatte-build` and of RVM's script.

    `default` is the model that runs if neither is given.
    """
    parser.set_defaults(default_model=default)
    what = parser.add_argument_group("model")
    either = what.add_mutually_exclusive_group()
    either.add_argument("--engine", type=values.name, metavar="FILE", help="an engine from trtmatte-build (*.trtm)")
    either.add_argument(
        "--model",
        "--checkpoint",
        "--model-checkpoint",
        type=values.name,
        metavar="MODEL",
        help="the name of a known model (trtmatte models lists them), a recipe or a model file; it is downloaded and "
        f"built at its first use, then kept in the cache{f' (default: {default})' if default else ''}",
    )
    scripts.add_model(what)
    add_device_flags(what)
    what.add_argument(
        "--scene-cut",
        type=values.number(0, 1),
        metavar="C",
        help="reset the states if the picture changes by more than this, 0…1; try 0.3 (default: never)",
    )
    what.add_argument(
        "--raw-foreground",
        action="store_true",
        help="keep the frame's own colours, with the old background in soft edges; for models that predict alpha alone",
    )
    add_safe_flag(what)
    build = parser.add_argument_group("build options, for --model")
    add_family_flag(build)
    build.add_argument(
        "--precision",
        type=scripts.precision,
        choices=PRECISIONS,
        help="precision on a GPU (default: fp16); tf32 is fp32 with rounded products. The CPU always runs fp32",
    )
    add_family_flags(build)


def add_device_flags(parser: argparse._ActionsContainer) -> None:
    """Add `--device` and `--backend`."""
    parser.add_argument("--device", type=values.name, metavar="D", help=_DEVICE)
    parser.add_argument(
        "--backend",
        type=scripts.backend,
        default="auto",
        metavar="B",
        help=f"the library that runs the networks: {', '.join(backends.names())} (default: auto)",
    )


def model_or_engine(args: argparse.Namespace) -> str | None:
    """Return the engine or the model that the flags name, or else the command's default model."""
    named: str | None = args.engine or args.model or args.default_model
    return named


def engine(args: argparse.Namespace, size: tuple[int, int], *, quiet: bool = False, **options: Any) -> Engine:
    """The engine that the flags name. A model is built for frames of this size, that of the first frame.

    The engine runs on frames of any other size as well. `options` are further ones of `build`.
    """
    settings = family_settings(vars(args), args.settings)
    if args.family is not None:
        settings["family"] = args.family
    if args.precision is not None:
        settings["precision"] = args.precision
    if args.engine is not None:
        if settings:
            raise SettingError(
                f"{', '.join(settings)} is a build option, and {args.engine} is built already; "
                "give --model in place of --engine, or build another with trtmatte-build"
            )
        loaded = load(args.engine, safe=args.safe)
        if all(size) and (warning := fit_warning(loaded, size)) is not None:
            _LOG.warning("%s", warning)
        return _as_said(args, loaded)
    if args.model is None and not quiet:
        note(f"the model is {args.default_model}; --model chooses another, `trtmatte models` lists them")
    args.model = model_or_engine(args)
    with progress.steps(quiet) as advance:
        return _as_said(args, build(args.model, size=size, progress=advance, safe=args.safe, **options, **settings))


def _as_said(args: argparse.Namespace, engine: Engine) -> Engine:
    scripts.require_as_said(args, engine.program, args.engine or args.model)
    return engine


def session_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments for `Session` and `convert_video`."""
    return {
        "device": args.device,
        "backend": args.backend,
        "scene_cut": args.scene_cut,
        "raw_foreground": args.raw_foreground,
    }
