"""`trtmatte image`: matte pictures."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import picture_tasks, scripts, sessions, values
from trtmatte.cli.arguments import add_old_name
from trtmatte.cli.folders import made
from trtmatte.cli.process import FAILED, complain, log
from trtmatte.errors import SettingError
from trtmatte.media.targets import KINDS
from trtmatte.support import progress

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "image",
        help="matte pictures",
        description="Matte pictures. Without -o, the outputs are beside the pictures: portrait-cutout.png, "
        "portrait-alpha.png. In a folder, the first output has the name of the picture: portrait.png.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        type=values.name,
        metavar="INPUT",
        help="pictures, folders, quoted patterns ('shots/*.jpg'), or - for a picture on standard input; after them "
        "the output, if it is new or an empty folder",
    )
    add("-o", "--out", type=values.name, metavar="OUT", help=_OUT)
    add("--watch", action="store_true", help="watch a folder, the INPUT, and matte each picture that appears in it")
    sessions.add_arguments(parser)
    add("--output", nargs="+", action="extend", default=[], choices=tuple(KINDS), help=_KINDS)
    add("--background", type=values.name, metavar="B", help=_BACKGROUND)
    add("--plate", "--images-bgr", type=values.path, metavar="PATH", help=_PLATE)
    add_old_name(parser, "--background-shot", "--plate", "plate", type=values.path)
    add(
        "--preprocess-alignment",
        action="store_true",
        help="bgmv2: align the plate to each picture, for hand-held cameras (needs OpenCV)",
    )
    add("--post-process", action="store_true", help=_POST_PROCESS)
    picture_tasks.add_format(parser)
    add("-y", "--overwrite", action="store_true", help="overwrite existing files")
    add("--quiet", action="store_true", help="print only warnings and errors")
    scripts.add_image(parser)
    parser.set_defaults(run=run)


_OUT: Final = (
    "a folder; a file, if INPUT is one picture; or - for standard output (default: beside the input, "
    "NAME-cutout.png; for standard input, standard output)"
)
_KINDS: Final = (
    "one or more outputs to write (default: composite if there is a background or the files are JPEG, otherwise rgba)"
)
_POST_PROCESS: Final = "make the alpha a mask without grey: thin parts are removed, and the outline is smoothed"
_BACKGROUND: Final = "the background of composites: a colour, a picture, blur or blur:N (default: greenscreen)"
_PLATE: Final = "bgmv2: the photographed empty scene: one picture for all, or a folder with pictures of the same names"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 some pictures failed, 2 the input or a flag is wrong."""
    log("trtmatte image")
    scripts.image(args)
    if not args.inputs:
        raise SettingError("there is no INPUT; expected pictures, folders, quoted patterns or -")
    picture_tasks.split_output(args)
    return _watch(args) if args.watch else _convert(args)


def _convert(args: argparse.Namespace) -> int:
    from trtmatte.apps import pictures as stills

    tasks = picture_tasks.tasks(args)
    folders = dict.fromkeys(path.parent for task in tasks for path in task.files)
    with made(folders), progress.frames(len(tasks), args.quiet) as advance:
        problems = stills.convert(tasks, _engine(args), done=advance, **_options(args))
        if problems and len(tasks) == 1:
            raise problems[0]
    for problem in problems:
        _say(str(problem))
    if not args.quiet:
        written = len(tasks) - len(problems)
        if len(tasks) > 1:
            _say(f"{written} of {len(tasks)} pictures are {f'in {args.out}' if args.out else 'beside their inputs'}")
        elif args.out is None:
            _say(f"written: {', '.join(map(str, tasks[0].files))}")
    return FAILED if problems else 0


def _watch(args: argparse.Namespace) -> int:
    from trtmatte.apps import watching

    folder = Path(args.inputs[0])
    if len(args.inputs) > 1 or not folder.is_dir():
        raise SettingError(f"--watch takes one folder, and INPUT is {' '.join(args.inputs)}; expected a folder")
    task = picture_tasks.folder_tasks(args)
    with made([folder if args.out is None else Path(args.out)]):
        if not args.quiet:
            _say(f"watching {folder}; Ctrl-C ends it")
        seen = watching.watch(folder, task, _engine(args), kinds=picture_tasks.kinds(args), **_options(args))
    if not args.quiet:
        _say(f"{seen.matted} pictures are matted, {seen.failed} failed")
    return FAILED if seen.failed else 0


def _engine(args: argparse.Namespace) -> Any:
    """Return the engine, or a function that builds it for a size."""
    build = functools.partial(sessions.engine, args, quiet=args.quiet)
    return build if args.engine is None else build((0, 0))


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "background": args.background or "greenscreen",
        "align": args.preprocess_alignment,
        "post_process": args.post_process,
        "quality": args.quality,
        "tell": _say,
        "reads": [sessions.model_or_engine(args)],
        "safe": args.safe,
        **sessions.session_arguments(args),
    }


def _say(message: str) -> None:
    complain("trtmatte image", message)
