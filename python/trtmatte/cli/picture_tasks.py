"""The pictures that `trtmatte image` reads, and the places of its outputs."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trtmatte.cli import values
from trtmatte.cli.process import complain
from trtmatte.errors import InputError, SettingError
from trtmatte.media.targets import KINDS, STDOUT
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from trtmatte.apps.pictures import Task
    from trtmatte.media.pipes import StandardOutput

__all__ = ["add_format", "folder_tasks", "kinds", "kinds_of", "require_transparency", "split_output", "tasks"]

_SUFFIXES: Final = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
"""The suffix of each format."""

STDIN: Final = "-"
_ENDINGS: Final = {kind: "-cutout" if kind == "rgba" else f"-{kind}" for kind in KINDS}
"""What the outputs beside a picture add to its name."""

_EXPECTED: Final = "expected a picture, a folder or a pattern"


def add_format(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add `--format` and `--quality`."""
    parser.add_argument("--format", choices=_SUFFIXES, default=default, help="format of the results (default: png)")
    parser.add_argument(
        "--quality",
        type=values.whole(1, 100),
        default=95,
        metavar="N",
        help="quality of JPEG and WebP, 1…100; 100 makes WebP lossless (default: 95)",
    )


def split_output(args: argparse.Namespace) -> None:
    """Take the last INPUT as the output if no other place is given, and it can be nothing else."""
    if args.out is not None or len(args.inputs) == 1:
        return
    *others, last = args.inputs
    if last == STDIN or others == [STDIN]:
        args.out, args.inputs = last, others
        return
    place = Path(last)
    if place.is_dir() and (args.watch or not _has_pictures(place)):
        args.out, args.inputs = last, others
    elif place.is_dir():
        raise SettingError(
            f"{last} is a folder with pictures, an input or the output; for the output, write -o {last}, and for an "
            "input, name it first"
        )
    elif not os.path.lexists(place) and not glob.has_magic(last):
        is_file = _is_file(place)
        if (place.suffix and not is_file) or (is_file and len(others) > 1):
            raise InputError(f"there is no {last}; {_EXPECTED}, or as the last one a folder for the output")
        args.out, args.inputs = last, others


def kinds(args: argparse.Namespace) -> list[str]:
    """Return the kinds of outputs: those that are asked for, or the usual one."""
    return kinds_of(args.output, args.background, is_jpeg=_is_jpeg(args))


def kinds_of(asked: Iterable[str], background: str | None, *, is_jpeg: bool) -> list[str]:
    """Return the kinds that are asked for, or the usual one for this background and format."""
    found = list(dict.fromkeys(asked)) or ["composite" if background or is_jpeg else "rgba"]
    if "composite" not in found and background is not None:
        raise SettingError("--background is put behind the subject of a composite; ask for one with --output composite")
    return found


def tasks(args: argparse.Namespace) -> list[Task]:
    """Return the tasks. They are checked as far as possible before any picture is read."""
    from trtmatte.apps.pictures import Task

    outputs = kinds(args)
    if args.inputs == [STDIN]:
        made = [_of_standard_input(args, outputs)]
    else:
        sources = _sources(args)
        places = _placing(args, outputs, len(sources))
        made = [Task(source, places(source), _plate(args.plate, source)) for source in sources]
    _require_free(made, args.overwrite)
    return made


def folder_tasks(args: argparse.Namespace) -> Callable[[Path], Task | None]:
    """Return a function that makes the task of a picture in a watched folder; None for a picture that needs none."""
    from trtmatte.apps.pictures import Task

    if args.out is not None and (args.out == STDOUT or _is_file(Path(args.out))):
        raise SettingError(f"--watch writes many pictures, and -o {args.out} takes one; expected a folder")
    if args.out is not None and Path(args.out).resolve() == Path(args.inputs[0]).resolve():
        raise SettingError(f"-o {args.out} is the watched folder; leave -o out to write NAME-cutout.png into it")
    places = _placing(args, kinds(args), 2)

    def task(source: Path) -> Task | None:
        if _is_output(source):
            return None
        new = {kind: path for kind, path in places(source).items() if args.overwrite or not os.path.lexists(str(path))}
        return Task(source, new, _plate(args.plate, source)) if new else None

    return task


def _of_standard_input(args: argparse.Namespace, outputs: Sequence[str]) -> Task:
    from trtmatte.apps.pictures import Task
    from trtmatte.media import pipes
    from trtmatte.media.still import Encoded

    if args.plate is not None and args.plate.is_dir():
        raise SettingError(f"--plate {args.plate} is a folder, and standard input has no name; expected a file")
    if args.out not in (None, STDOUT) and not _is_file(Path(args.out)):
        raise SettingError(f"-o {args.out} is a folder, and standard input has no name; expected a file")
    args.out = args.out or STDOUT
    places = _placing(args, outputs, 1)(Path(STDIN))
    plate = _plate(args.plate, Path(STDIN))
    return Task(Encoded(pipes.read_all(Limits.of(args.safe)), "standard input"), places, plate)


def _sources(args: argparse.Namespace) -> list[Path]:
    """Return the input files without duplicates, in the order of the arguments."""
    from trtmatte.media import pictures

    found: dict[Path, None] = {}
    left_out = 0
    for place in args.inputs:
        if place == STDIN:
            raise SettingError("- is standard input, one picture; expected no other INPUT beside it")
        these = pictures.find(place)
        path = Path(place)
        if these is None:
            if not path.exists():
                raise InputError(f"there is no {place}; {_EXPECTED}")
            these = [path]  # whatever it is called, Pillow will know
        elif these != [path]:
            new = [each for each in these if not _is_output(each)]
            left_out += len(these) - len(new)
            these = new
        found.update(dict.fromkeys(these))
    if left_out and not args.quiet:
        complain("trtmatte image", f"{left_out} outputs of an earlier run are left out; to matte one, name its file")
    return list(found)


def _is_output(path: Path) -> bool:
    """Report if a picture has the name of an output, and lies beside its input."""
    from trtmatte.media.pictures import SUFFIXES

    for ending in _ENDINGS.values():
        if path.stem.endswith(ending) and path.stem != ending:
            stem = path.stem.removesuffix(ending)
            return any(path.with_name(stem + suffix).exists() for suffix in _both_cases(SUFFIXES))
    return False


def _both_cases(suffixes: Iterable[str]) -> Iterable[str]:
    return (each for suffix in suffixes for each in (suffix, suffix.upper()))


def _placing(
    args: argparse.Namespace, outputs: Sequence[str], count: int
) -> Callable[[Path], dict[str, Path | StandardOutput]]:
    """Return a function that gives the place of each output of a picture.

    In a folder that is given, the first output has the picture's name. Beside the picture, each adds its own.
    """
    if args.script_places is not None:
        return args.script_places  # type: ignore[no-any-return]
    if args.out == STDOUT:
        return _on_standard_output(args, outputs, count)
    from trtmatte.media.still import FORMATS as WRITTEN

    out = None if args.out is None else Path(args.out)
    is_file = out is not None and _is_file(out)
    if out is not None and is_file:
        suffix = out.suffix.lower()
        if suffix not in WRITTEN:
            raise SettingError(f"-o {out} is of a kind that is not written; expected {', '.join(WRITTEN)}, or a folder")
        if count > 1:
            raise SettingError(f"-o {out} is a file, and there are {count} pictures; expected a folder")
        if args.format not in (None, WRITTEN[suffix]):
            raise SettingError(f"-o {out} and --format {args.format} contradict each other; leave --format out")
        suffix = out.suffix
    else:
        suffix = _SUFFIXES[args.format or "png"]
    require_transparency(outputs, WRITTEN[suffix.lower()])

    def places(source: Path) -> dict[str, Path | StandardOutput]:
        if out is None:
            return {kind: source.with_name(f"{source.stem}{_ENDINGS[kind]}{suffix}") for kind in outputs}
        folder, stem = (out.parent, out.stem) if is_file else (out, source.stem)
        return {kind: folder / f"{stem}{f'-{kind}' if number else ''}{suffix}" for number, kind in enumerate(outputs)}

    return places


def _on_standard_output(
    args: argparse.Namespace, outputs: Sequence[str], count: int
) -> Callable[[Path], dict[str, Path | StandardOutput]]:
    from trtmatte.media.pipes import StandardOutput

    if count > 1 or len(outputs) > 1:
        what = f"{count} pictures" if count > 1 else f"the outputs {', '.join(outputs)}"
        raise SettingError(f"standard output takes one picture, and there are {what}; expected -o and a folder")
    require_transparency(outputs, args.format or "png")
    place = StandardOutput(args.format or "png")
    return lambda source: {outputs[0]: place}


def require_transparency(outputs: Sequence[str], format: str) -> None:
    """Raise a SettingError if one of the outputs has alpha, and the format has none."""
    if "rgba" in outputs and format == "jpeg":
        raise SettingError("JPEG has no transparency, which rgba needs; expected --format png or webp")


def _is_file(place: Path) -> bool:
    """Report if an output is named like a picture, and is no folder."""
    from trtmatte.media.pictures import SUFFIXES

    return place.suffix.lower() in SUFFIXES and not place.is_dir()


def _is_jpeg(args: argparse.Namespace) -> bool:
    return args.format == "jpeg" or Path(args.out or "").suffix.lower() in (".jpg", ".jpeg")


def _has_pictures(folder: Path) -> bool:
    from trtmatte.media import pictures

    try:
        return any(map(pictures.is_picture, folder.iterdir()))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from error


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
    taken = {path.resolve() for task in tasks for path in task.reads}
    for path in (path for task in tasks for path in task.files):
        if path.resolve() in taken:
            raise SettingError(f"{path} is an input, or would be written twice; choose another folder with -o")
        if os.path.exists(path) and not overwrite:  # a name that is too long does not
            raise SettingError(f"{path} exists already; -y overwrites, -o chooses another place")
        taken.add(path.resolve())
