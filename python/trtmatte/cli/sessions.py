"""Choosing what mattes: the flags that commands share, and the engine and the session that they mean."""

from __future__ import annotations

import argparse
from typing import Any, Final

from trtmatte.cli import progress
from trtmatte.cli.arguments import setting
from trtmatte.compiler.options import PRECISIONS
from trtmatte.errors import SettingError
from trtmatte.format.file import Engine, load

__all__ = ["add_arguments", "engine", "session_arguments"]

_OF_MODELS: Final = (  # what is decided when an engine is built
    "downsample_ratio",
    "backbone_scale",
    "refine_mode",
    "refine_sample_pixels",
    "refine_threshold",
    "input_size",
    "precision",
)


def add_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """`--engine` or `--model`, and what belongs to them, by the names of `trtmatte-build` and of RVM's script."""
    what = parser.add_argument_group("what mattes")
    either = what.add_mutually_exclusive_group(required=required)
    either.add_argument("--engine", metavar="FILE", help="an engine that trtmatte-build made (*.trtm)")
    either.add_argument(
        "--model",
        "--checkpoint",
        "--model-checkpoint",
        metavar="MODEL",
        help="the name of a known model (rvm-mobilenetv3; trtmatte models lists them), a recipe or a model file: "
        "fetched and built when it is first used, kept from then on",
    )
    what.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N (a GPU where one can run it, else the CPU)")
    what.add_argument("--backend", default="auto", metavar="B", help="what runs the networks (auto)")
    what.add_argument(
        "--scene-cut",
        type=float,
        metavar="C",
        help="begin anew where the picture changes by more than this, 0…1; try 0.3 (never)",
    )
    add = parser.add_argument_group("with --model").add_argument
    add("--downsample-ratio", metavar="R", help="rvm: a number, or auto: the long side to 512 (auto)")
    add("--precision", choices=PRECISIONS, help="on a GPU (fp16); the CPU always runs fp32")
    add("--input-size", metavar="WxH", help="modnet, u2net: what the network sees (the model's own rule)")
    add("--backbone-scale", "--model-backbone-scale", type=float, metavar="R", help="bgmv2 (0.25)")
    add("--refine-mode", "--model-refine-mode", metavar="M", help="bgmv2: sampling, thresholding or full (sampling)")
    add("--refine-sample-pixels", "--model-refine-sample-pixels", type=int, metavar="N", help="bgmv2 (80000)")
    add("--refine-threshold", "--model-refine-threshold", type=float, metavar="T", help="bgmv2 (0.1)")
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="another setting of the model's family",
    )


def engine(args: argparse.Namespace, size: tuple[int, int], *, quiet: bool = False) -> Engine:
    """The engine that is meant; that of a model is built for frames of this size: those of the first frame.

    It runs on frames of any other size as well.
    """
    settings = {name: value for name in _OF_MODELS if (value := getattr(args, name)) is not None}
    settings |= dict(args.settings)
    if args.engine is not None:
        if settings:
            raise SettingError(
                f"{', '.join(settings)} is decided when an engine is built, and {args.engine} is; "
                "give --model in place of --engine, or build another with trtmatte-build"
            )
        return load(args.engine)
    from trtmatte.compiler import build as compiler

    with progress.steps(quiet) as advance:
        return compiler.build(args.model, size=size, progress=advance, **settings)


def session_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What `Session` and `convert_video` take of it."""
    return {"device": args.device, "backend": args.backend, "scene_cut": args.scene_cut}
