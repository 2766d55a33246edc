"""`trtmatte`: all commands except `trtmatte-build`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from trtmatte.cli import bench, doctor, image, inspect, live, models, video
from trtmatte.errors import FrameError, InputError, ModelError, SettingError, TrtmatteError

_GIVEN_IS_WRONG: Final = (FrameError, InputError, ModelError, SettingError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 failed, 2 the input or a flag is wrong."""
    parser = argparse.ArgumentParser(
        prog="trtmatte",
        description="Remove the background from videos, pictures and camera streams. trtmatte-build builds engines.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in (video, image, live, models, inspect, doctor, bench):
        command.add_parser(commands)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
    except TrtmatteError as error:
        print(f"trtmatte {chosen.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, _GIVEN_IS_WRONG) else 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    raise SystemExit(main())
