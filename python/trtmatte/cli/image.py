"""`trtmatte image`: matte pictures."""

from __future__ import annotations

import argparse
import contextlib
import functools
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtmatte.cli import sessions, values
from trtmatte.cli.arguments import add_old_name
from trtmatte.cli.process import FAILED, complain, log
from trtmatte.errors import InputError, OutputError, SettingError
from trtmatte.media.targets import KINDS
from trtmatte.support import progress

if TYPE_CHECKING:
    from trtmatte.apps.pictures import Task

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_SUFFIXES: Final = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "image",
        help="matte pictures",
        description="Matte pictures. The first output has the name of the picture, each further output adds its own: "
        "portrait.png, portrait-alpha.png.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        type=values.name,
        metavar="INPUT",
        help="pictures, folders, or quoted patterns ('shots/*.jpg')",
    )
    add(
        "-o",
        "--out",
        required=True,
        type=values.path,
        metavar="DIR",
        help="a folder, or a file if INPUT is one picture",
    )
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
    add("--format", choices=_SUFFIXES, help="format of the files (default: png)")
    add(
        "--quality",
        type=values.whole(1, 100),
        default=95,
        metavar="N",
        help="quality of JPEG and WebP, 1…100; 100 makes WebP lossless (default: 95)",
    )
    add("-y", "--overwrite", action="store_true", help="overwrite existing files")
    add("--quiet", action="store_true", help="print only warnings and errors")
    parser.set_defaults(run=run)


_KINDS: Final = (
    "one or more outputs to write (default: composite if there is a background or the files are JPEG, otherwise rgba)"
)
_BACKGROUND: Final = "the background of composites: a colour, a picture, blur or blur:N (default: greenscreen)"
_PLATE: Final = "bgmv2: the photographed empty scene: one picture for all, or a folder with pictures of the same names"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 some pictures failed, 2 the input or a flag is wrong."""
    from trtmatte.apps import pictures as stills

    log("trtmatte image")
    tasks = _tasks(args)
    build = functools.partial(sessions.engine, args, quiet=args.quiet)
    folder = next(iter(tasks[0].places.values())).parent
    with _made(folder), progress.frames(len(tasks), args.quiet) as advance:
        problems = stills.convert(
            tasks,
            build((0, 0)) if args.engine is not None else build,
            background=args.background or "greenscreen",
            align=args.preprocess_alignment,
            quality=args.quality,
            done=advance,
            tell=_say,
            reads=[sessions.model_or_engine(args)],
            safe=args.safe,
            **sessions.session_arguments(args),
        )
        if problems and len(tasks) == 1:
            raise problems[0]
    for problem in problems:
        _say(str(problem))
    if not args.quiet and len(tasks) > 1:
        _say(f"{len(tasks) - len(problems)} of {len(tasks)} pictures are in {args.out}")
    return FAILED if problems else 0


def _tasks(args: argparse.Namespace) -> list[Task]:
    """Return the tasks. They are checked as far as possible before any picture is read."""
    from trtmatte.apps.pictures import Task

    outputs = list(dict.fromkeys(args.output)) or ["composite" if args.background or _is_jpeg(args) else "rgba"]
    if "composite" not in outputs and args.background is not None:
        raise SettingError("--background is put behind the subject of a composite; ask for one with --output composite")
    sources = _sources(args.inputs)
    name = _naming(args, sources, "rgba" in outputs)
    tasks = [
        Task(
            source,
            {output: name(source, output if number else "") for number, output in enumerate(outputs)},
            _plate(args.plate, source),
        )
        for source in sources
    ]
    _require_free(tasks, args.overwrite)
    return tasks


def _sources(inputs: Iterable[str]) -> list[Path]:
    """Return the input files without duplicates, in the order of the arguments."""
    from trtmatte.media import pictures

    found: dict[Path, None] = {}
    for place in inputs:
        these = pictures.find(place)
        if these is None:
            path = Path(place)
            if not path.exists():
                raise InputError(f"there is no {place}; expected a picture, a folder or a pattern")
            these = [path]  # whatever it is called, Pillow will know
        found.update(dict.fromkeys(these))
    return list(found)


def _naming(args: argparse.Namespace, sources: Sequence[Path], transparent: bool) -> Callable[[Path, str], Path]:
    """Return a function that names the file of each output of a picture. The first output has the picture's name."""
    from trtmatte.media.pictures import SUFFIXES
    from trtmatte.media.still import FORMATS

    suffix = args.out.suffix.lower()
    is_file = suffix in SUFFIXES and not args.out.is_dir()
    if is_file and suffix not in FORMATS:
        raise SettingError(
            f"-o {args.out} is of a kind that is not written; expected {', '.join(FORMATS)}, or a folder"
        )
    if is_file and len(sources) > 1:
        raise SettingError(f"-o {args.out} is a file, and there are {len(sources)} pictures; expected a folder")
    if is_file and args.format not in (None, FORMATS[suffix]):
        raise SettingError(f"-o {args.out} and --format {args.format} contradict each other; leave --format out")
    suffix = args.out.suffix if is_file else _SUFFIXES[args.format or "png"]
    if transparent and FORMATS[suffix.lower()] == "jpeg":
        raise SettingError("JPEG has no transparency, which rgba needs; expected --format png or webp")
    folder = args.out.parent if is_file else args.out

    def name(source: Path, output: str) -> Path:
        stem = args.out.stem if is_file else source.stem
        return Path(folder, f"{stem}{'-' if output else ''}{output}{suffix}")

    return name


def _is_jpeg(args: argparse.Namespace) -> bool:
    return args.format == "jpeg" or args.out.suffix.lower() in (".jpg", ".jpeg")


def _plate(place: Path | None, source: Path) -> Path | None:
    """Return the plate of a picture: one for all, or the file of the same name in a folder, in any format."""
    if place is None or place.is_file():
        return place
    if not place.is_dir():
        raise InputError(f"there is no {place}; expected a picture, or a folder of pictures")
    from trtmatte.media import pictures

    same = [path for path in sorted(place.glob(f"{glob.escape(source.stem)}.*")) if pictures.is_picture(path)]
    if not same:
        raise InputError(f"the folder {place} has no picture {source.stem}.*, which {source} needs")
    return next((path for path in same if path.name == source.name), same[0])


def _require_free(tasks: Sequence[Task], overwrite: bool) -> None:
    """Check that no file is written twice, that no input is overwritten, and others only with --overwrite."""
    taken = {path.resolve() for task in tasks for path in (task.source, task.plate) if path is not None}
    for path in (path for task in tasks for path in task.places.values()):
        if path.resolve() in taken:
            raise SettingError(f"{path} is an input, or would be written twice; choose another folder with -o")
        if path.exists() and not overwrite:
            raise SettingError(f"{path} exists already; -y overwrites, -o chooses another place")
        taken.add(path.resolve())


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder. After an error, remove it again if it is new and empty."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror}; choose another with -o") from error
    try:
        if not os.access(folder, os.W_OK):
            raise OutputError(f"the folder {folder} cannot be written to; choose another with -o")
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # something is in it
            for each in new:
                each.rmdir()
        raise


def _say(message: str) -> None:
    complain("trtmatte image", message)
