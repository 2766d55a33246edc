"""`trtmatte inspect`: describe a model file or an engine and its stages."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from trtmatte.cli import values
from trtmatte.cli.arguments import add_family_flag, add_safe_flag, add_set_flag, described, family_settings
from trtmatte.cli.process import WRONG, complain, tell
from trtmatte.errors import ModelError, TrtmatteError
from trtmatte.reports import inspect as inspection
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("inspect", **described("describe a model or an engine, stage by stage"))
    parser.add_argument(
        "model", type=values.path, metavar="MODEL", help="an ONNX file, a checkpoint or an engine (*.trtm)"
    )
    add_family_flag(parser)
    parser.add_argument(
        "--size", type=values.size, default=(1920, 1080), metavar="WxH", help="frame size (default: 1920x1080)"
    )
    parser.add_argument(
        "--batch", type=values.whole(1), default=1, metavar="N", help="number of streams in lockstep (default: 1)"
    )
    add_set_flag(
        parser, "a setting of the family, such as downsample_ratio=0.25, input_size=512x512 or mean=0.5,0.5,0.5"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_safe_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 recognised, 2 not recognised."""
    options = {
        "family": args.family,
        "size": args.size,
        "batch": args.batch,
        "settings": family_settings({}, args.settings),
        "limits": Limits.of(args.safe),
    }
    try:
        facts = inspection.inspect(args.model, **options)
    except TrtmatteError as error:
        return _complain(error, args)
    tell(json.dumps(facts, indent=2) if args.json else inspection.describe(facts))
    return 0


def _complain(error: TrtmatteError, args: argparse.Namespace) -> int:
    """Print the error, and what could be read from the file."""
    seen = inspection.of_unmatched(args.model) if isinstance(error, ModelError) else {}
    if args.json:
        tell(json.dumps({"error": str(error), **seen}, indent=2))
    elif seen:
        tell(inspection.describe_unmatched(seen))
    complain("trtmatte inspect", error)
    return WRONG
