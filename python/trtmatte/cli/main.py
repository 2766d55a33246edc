"""`trtmatte`: all commands except `trtmatte-build`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trtmatte.cli import (
    batch,
    bench,
    cache,
    compare,
    doctor,
    image,
    inspect,
    live,
    models,
    process,
    scripts,
    serve,
    video,
)
from trtmatte.cli.arguments import Parser, add_version_flag


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 failed, 2 the input or a flag is wrong, 70 a defect, 128 + N signal N."""
    parser = Parser(
        prog="trtmatte",
        description="Remove the background from videos, pictures and camera streams. trtmatte-build builds engines.",
    )
    add_version_flag(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in (video, image, batch, live, serve, models, cache, inspect, doctor, bench, compare):
        command.add_parser(commands)
    chosen = process.parsed(parser, scripts.words(sys.argv[1:] if arguments is None else arguments) or ["--help"])
    return process.finished(f"trtmatte {chosen.command}", lambda: chosen.run(chosen))


if __name__ == "__main__":
    process.trtmatte()
