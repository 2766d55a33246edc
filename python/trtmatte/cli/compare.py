"""`trtmatte compare`: measure alphas against the true ones."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from trtmatte.cli import values
from trtmatte.cli.arguments import described
from trtmatte.cli.process import tell
from trtmatte.reports import comparison

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("compare", **described("measure alphas against the true ones"))
    parser.add_argument(
        "truth", type=values.name, metavar="TRUTH", help="the true alpha: a picture, a folder of pictures or a film"
    )
    parser.add_argument("result", type=values.name, metavar="RESULT", help="the alpha to measure, of the same kind")
    parser.add_argument(
        "--trimap", type=values.name, metavar="T", help="measure only where this picture, folder or film is grey"
    )
    parser.add_argument("--film", action="store_true", help="the folders hold the frames of films, in natural order")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 compared."""
    found = comparison.compare(args.truth, args.result, trimap=args.trimap, film=args.film)
    tell(json.dumps(found.to_json(), indent=2) if args.json else comparison.describe(found))
    return 0
