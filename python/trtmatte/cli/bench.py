"""`trtmatte bench`: time an engine on this machine, stage by stage; without one, run the whole suite."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtmatte.cli import sessions, values
from trtmatte.cli.process import WRONG, complain, tell
from trtmatte.reports import profile as profiling

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_CHECKOUT: Final = Path(__file__).parents[3]
_HD: Final = (1920, 1080)


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="time an engine on this machine, stage by stage",
        description="Time an engine or a model on this machine, from uint8 frames to composites over a colour. Without "
        "--engine and --model, run the benchmark suite of the source checkout: it compares with PyTorch, ONNX Runtime "
        "and OpenVINO.",
    )
    sessions.add_arguments(parser, default=None)
    parser.add_argument("--size", type=values.size, metavar="WxH", help="frame size (default: that of the engine)")
    parser.add_argument(
        "--frames", type=values.whole(1), default=50, metavar="N", help="number of timed frames (default: 50)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 2 there is nothing to time. The suite has its own."""
    if args.engine is None and args.model is None:
        return _suite()
    engine = sessions.engine(args, args.size or _HD, quiet=args.json)
    found = profiling.profile(engine, size=args.size, frames=args.frames, **sessions.session_arguments(args))
    tell(json.dumps(found.to_json(), indent=2) if args.json else profiling.describe(found))
    return 0


def _suite() -> int:
    if (_CHECKOUT / "benchmarks" / "__main__.py").is_file():
        return subprocess.run([sys.executable, "-m", "benchmarks"], cwd=_CHECKOUT, check=False).returncode
    complain(
        "trtmatte bench",
        "the benchmark suite is not installed, it is in the source checkout: "
        "run make bench there, or give --engine or --model to time one here",
    )
    return WRONG
