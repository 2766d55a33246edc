"""`trtmatte batch`: matte pictures that come in lines on standard input."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import picture_tasks, sessions, values
from trtmatte.cli.process import FAILED, complain, log
from trtmatte.errors import SettingError
from trtmatte.media.targets import KINDS
from trtmatte.support import progress

if TYPE_CHECKING:
    from trtmatte.apps.matting import Matting

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST: Final = 256
_BATCH: Final = "pictures that run through the network together, for GPUs (default: 1, or that of the engine)"


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "batch",
        help="matte pictures that come in lines on standard input",
        description="Matte pictures that come in lines on standard input. The answers are lines on standard output, in "
        "the order in which they are complete.",
        epilog='A line is {"id": 1, "image": "a PNG, JPEG … in base64"}, and its answer {"id": 1, "image": "a PNG in '
        'base64"} or {"id": 1, "error": "…"}.',
        allow_abbrev=False,
    )
    add = parser.add_argument
    sessions.add_arguments(parser)
    add("--batch", type=values.whole(1, _MOST), metavar="N", help=_BATCH)
    add("--output", choices=tuple(KINDS), help="the output (default: composite with a background, otherwise rgba)")
    add(
        "--background",
        type=values.name,
        metavar="B",
        help="the background of composites: a colour, a picture, blur or blur:N (default: greenscreen)",
    )
    picture_tasks.add_format(parser, default="png")
    add("--quiet", action="store_true", help="print only warnings and errors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 some requests failed, 2 a flag is wrong."""
    from trtmatte.apps.batch import Service
    from trtmatte.media import pipes
    from trtmatte.media.request_lines import RequestLines
    from trtmatte.support.limits import Limits

    log("trtmatte batch")
    asked = [args.output] if args.output else []
    (kind,) = picture_tasks.kinds_of(asked, args.background, is_jpeg=args.format == "jpeg")
    picture_tasks.require_transparency([kind], args.format)
    single, several, batch = _mattings(args, kind, Limits.of(args.safe))
    requests = pipes.standard_input()
    if requests.isatty():
        _say("reading requests from the terminal; Ctrl-D ends them")
    with progress.frames(None, args.quiet) as advance:
        served = Service(
            RequestLines(requests, Limits.of(args.safe)),
            pipes.write,
            single,
            several,
            kind=kind,
            batch=batch,
            background=args.background or "greenscreen",
            format=args.format,
            quality=args.quality,
            done=advance,
            safe=args.safe,
        ).serve()
    if not args.quiet:
        _say(f"{served.matted} pictures are matted, {served.failed} failed")
    return FAILED if served.failed else 0


def _mattings(args: argparse.Namespace, kind: str, limits: Any) -> tuple[Matting | None, Matting | None, int]:
    """Return what mattes one picture, what mattes a batch, and its size."""
    from trtmatte.apps.matting import Matting

    options = {"limits": limits, "tell": _say, **sessions.session_arguments(args)}
    if args.engine is not None:
        engine = sessions.engine(args, (0, 0))
        batch = engine.program.batch
        if args.batch not in (None, batch):
            raise SettingError(
                f"--batch is {args.batch}, and {args.engine} is built for {batch}; leave --batch out, or build another "
                f"engine with trtmatte-build --batch {args.batch}"
            )
        if batch == 1:
            return Matting(engine, [kind], **options), None, 1
        return None, Matting(engine, [kind], batch=batch, **options), batch

    def build(size: tuple[int, int], batch: int = 1) -> Any:
        return sessions.engine(args, size, quiet=args.quiet, batch=batch)

    single = Matting(build, [kind], **options)
    if args.batch in (None, 1):
        return single, None, 1
    several = Matting(lambda size: build(size, args.batch), [kind], batch=args.batch, **options)
    return single, several, args.batch


def _say(message: str) -> None:
    complain("trtmatte batch", message)
