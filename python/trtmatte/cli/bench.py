"""`trtmatte bench`: time a model before and after, or an engine stage by stage; without one, run the whole suite."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtmatte.cli import sessions, values
from trtmatte.cli.process import WRONG, complain, tell
from trtmatte.compiler.source import locate
from trtmatte.errors import ModelError, SettingError
from trtmatte.reports import any_network, before_after, matting
from trtmatte.reports import profile as profiling

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_CHECKOUT: Final = Path(__file__).parents[3]
_HD: Final = (1920, 1080)


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="time a model before and after, or an engine stage by stage",
        description="With NETWORK: time a model as it is, in ONNX Runtime or PyTorch, against trtmatte. With --engine "
        "or --model: time it stage by stage, from uint8 frames to composites over a colour. With neither: run the "
        "benchmark suite of the source checkout, which compares with PyTorch, ONNX Runtime and OpenVINO.",
    )
    parser.add_argument(
        "network",
        nargs="?",
        type=values.name,
        metavar="NETWORK",
        help="an ONNX file of any network, a checkpoint of a known family, or the name of a known model",
    )
    sessions.add_arguments(parser, default=None)
    parser.add_argument(
        "--shape",
        type=_shape,
        action="append",
        default=[],
        metavar="NAME=1x3x224x224",
        help="shape of an input of NETWORK with open dimensions, once for each; the file is then timed as a mere "
        "network, arrays in and arrays out",
    )
    parser.add_argument("--size", type=values.size, metavar="WxH", help="frame size (default: that of the engine)")
    parser.add_argument(
        "--frames", type=values.whole(1), default=50, metavar="N", help="number of timed frames or runs (default: 50)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 2 there is nothing to time. The suite has its own."""
    if args.network is not None:
        return _before_and_after(args)
    if args.shape:
        raise SettingError(
            "--shape is for a network as it is; give its file: trtmatte bench FILE --shape NAME=1x3x64x64"
        )
    if args.engine is None and args.model is None:
        return _suite()
    engine = sessions.engine(args, args.size or _HD, quiet=args.json)
    found = profiling.profile(engine, size=args.size, frames=args.frames, **sessions.session_arguments(args))
    tell(json.dumps(found.to_json(), indent=2) if args.json else profiling.describe(found))
    return 0


def _before_and_after(args: argparse.Namespace) -> int:
    if args.engine is not None or args.model is not None:
        raise SettingError(
            f"{args.network} is timed before and after, and --engine and --model are timed alone; leave one of them out"
        )
    if args.safe:
        raise SettingError(
            f"--safe is given, and before and after run {args.network} as it is, unchecked; give --model in its place"
        )
    path = locate(args.network)[0].path
    found = _network(args, path) if args.shape else _matting(args, path) or _network(args, path)
    tell(json.dumps(found.to_json(), indent=2) if args.json else before_after.describe(found))
    return 0


def _matting(args: argparse.Namespace, path: Path) -> before_after.BeforeAfter | None:
    """Time a model of a family; None for an ONNX file of none."""
    from trtmatte.compiler.families.reading import is_onnx

    args.model = args.network
    try:
        engine = sessions.engine(args, args.size or _HD, quiet=args.json)
    except ModelError:
        if args.family is not None or args.settings or not path.is_file() or not is_onnx(path):
            raise
        return None
    options = sessions.session_arguments(args)
    return matting.compare(engine, path, runs=args.frames, **options)


def _network(args: argparse.Namespace, path: Path) -> before_after.BeforeAfter:
    from trtmatte.compiler.families.reading import is_onnx

    if not is_onnx(path):
        raise SettingError(f"--shape is for ONNX files, and {path} is none; leave it out")
    if args.device not in (None, "cpu"):
        raise SettingError(
            f"device is {args.device}; a network of no family is timed on the CPU: leave the device out, or give "
            "--family generic for one picture in and one alpha out"
        )
    shapes = dict(args.shape)
    return any_network.compare(path, shapes=shapes, runs=args.frames, backend=args.backend)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse NAME=1x3x224x224. The name may have any signs, as ONNX's names do."""
    name, separator, sides = text.rpartition("=")
    shape = sides.split("x")
    if not name or not separator or not all(side.isdecimal() and 0 < len(side) < 10 and int(side) for side in shape):
        raise argparse.ArgumentTypeError(
            f"{text!r} is given; expected NAME=SIZES, such as data=1x3x224x224, each 1 or more"
        )
    return name, tuple(map(int, shape))


def _suite() -> int:
    if (_CHECKOUT / "benchmarks" / "__main__.py").is_file():
        return subprocess.run([sys.executable, "-m", "benchmarks"], cwd=_CHECKOUT, check=False).returncode
    complain(
        "trtmatte bench",
        "the benchmark suite is not installed, it is in the source checkout: "
        "run make bench there, or give a model's file, --engine or --model to time one here",
    )
    return WRONG
