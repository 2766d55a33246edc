"""Command lines: the flags of all commands with hostile values, over tiny files."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final
from unittest import mock

import numpy as np
from PIL import Image

from fuzz.tiny_engines import all_engines
from trtmatte.cli import bench, build, main
from trtmatte.format import file as engine_file

__all__ = ["attack", "mutate", "seeds"]

_STATUSES: Final = (0, 1, 2)
_MOST_PIXELS: Final = 1 << 16
_MOST_FRAMES: Final = 10
_FILES: Final = ("tiny.trtm", "in.png", "recipe.toml", "model.onnx", "in.mp4", "none.png", "out.mov", "out", "-")
_VALUES: Final = (
    *("0", "-1", "1", "2", "3.5", "nan", "inf", "1e30", "9" * 400, "", "x", "true", "0,0,0", "auto", "a=b"),
    *(
        "64x48",
        "0x0",
        "1x",
        "30/0",
        "4x4@25",
        "1:02:03",
        "99999:0",
        "n" * 300,
        "a\x1b[31mb",
        "\udcff",
        "a\nb",
        "\ud800",
    ),
    *("cpu", "onnxruntime", "composite", "red", "blur", "blur:-1", "png", "h264", "downsample_ratio=x", "mean=1,,2"),
)
_SEEDS: Final = (
    "video in.png -o out.png --engine tiny.trtm --frames 1 -y",
    "video in.png -o out.mov --engine tiny.trtm --output rgba --quiet --safe",
    "video - --raw 4x4@25 -o - --engine tiny.trtm",
    "image in.png -o out --engine tiny.trtm --backend onnxruntime --output rgba alpha",
    "image in.png -o out.webp --engine tiny.trtm --background blur:3 --quality 50",
    "live --engine tiny.trtm --camera in.mp4 --no-window --frames 1",
    "models list --long",
    "inspect tiny.trtm --json",
    "inspect model.onnx --set mean=0.5,0.5,0.5 --size 64x48",
    "bench --engine tiny.trtm --frames 1 --json",
    "trtmatte-build recipe.toml -o out.trtm --size 64x48",
    "trtmatte-build model.onnx --family generic --export onnx -o out.onnx",
)


def seeds() -> list[bytes]:
    return [_joined(each.split()) for each in _SEEDS]


def mutate(data: bytes, random: Random) -> bytes:
    """Change, add or leave out an argument."""
    arguments = _split(data)
    place = random.randrange(len(arguments) + 1)
    new = random.choice((_VALUES, _FILES, _flags()))
    change = random.randrange(3)
    if change == 0 or place == len(arguments):
        flag = [random.choice(_flags())] if random.random() < 0.5 else []
        arguments[place:place] = [*flag, random.choice(new)]
    elif change == 1:
        arguments[place] = random.choice(new)
    else:
        del arguments[place]
    return _joined(arguments)


def attack(data: bytes) -> bool:
    arguments = _split(data)
    if any(part in each for each in arguments for part in ("/", "..", "~", "http")):
        return False  # what is written stays in the folder of the attack
    with _surroundings() as (out, errors):
        status = _status(_command(arguments), arguments)
        told, results = errors.getvalue(), out.getvalue()
    assert status in _STATUSES, f"{arguments} ends with {status}: {told}"
    assert told.replace("\n", "").isprintable(), f"{arguments} prints control characters: {told!r}"
    assert "Traceback" not in told, told
    assert status == 0 or told.count("\n") >= 1, f"{arguments} ends with {status} and says nothing"
    raw = any(each.endswith("-") for each in arguments)  # frames on standard output
    assert raw or results.decode().replace("\n", "").isprintable(), f"{arguments} prints control characters"
    return status == 0


def _status(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    if command is build.main:
        arguments = arguments[1:]
    try:
        with mock.patch.object(argparse.ArgumentParser, "parse_args", _small):
            return command(arguments)
    except SystemExit as error:
        return int(error.code or 0)


def _command(arguments: Sequence[str]) -> Callable[[Sequence[str]], int]:
    return build.main if arguments[:1] == ["trtmatte-build"] else main.main


_parse = argparse.ArgumentParser.parse_args


def _small(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse, and leave out what would take long: large frames, many frames, windows and the network."""
    found: argparse.Namespace = _parse(parser, arguments)
    width, height = getattr(found, "size", None) or getattr(found, "input_resize", None) or (1, 1)
    frames = getattr(found, "frames", None)
    is_long = width * height > _MOST_PIXELS or (isinstance(frames, int) and frames > _MOST_FRAMES)
    if is_long or (getattr(found, "batch", None) or 1) > 4 or getattr(found, "validate", False):
        parser.error("this would take long")
    for name in ("no_window", "quiet", "disable_progress"):
        if hasattr(found, name):
            setattr(found, name, True)
    return found


@contextlib.contextmanager
def _surroundings() -> Iterator[tuple[io.BytesIO, io.StringIO]]:
    """A new current folder with the tiny files, other streams, and no network."""
    out, errors, before = io.BytesIO(), io.StringIO(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for path in Path(_made().name).iterdir():
            shutil.copy(path, folder)
        os.chdir(folder)
        environment = {"TRTMATTE_CACHE": str(Path(folder, "cache")), "TRTMATTE_OFFLINE": "1", "TRTMATTE_DEBUG": "0"}
        try:
            with (
                mock.patch.dict(os.environ, environment),
                mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(100)))),
                mock.patch.object(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True)),
                mock.patch.object(sys, "stderr", errors),
                mock.patch.object(bench, "_suite", return_value=0),
            ):
                yield out, errors
        finally:
            os.chdir(before)


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    """The tiny files, which are removed with the process."""
    made = tempfile.TemporaryDirectory()
    folder = Path(made.name)
    engine_file.write(all_engines()[0], folder / "tiny.trtm")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(folder / "in.png")
    (folder / "recipe.toml").write_text("model = 'model.onnx'\nfamily = 'generic'\ninput_size = '32x32'\n")
    (folder / "model.onnx").write_bytes(b"\x08\x08")
    (folder / "in.mp4").write_bytes(b"no film")
    return made


@functools.cache
def _flags() -> tuple[str, ...]:
    """The flags of all commands, from their parsers."""
    found: list[str] = []

    def look(parser: argparse.ArgumentParser) -> None:
        for action in parser._actions:
            found.extend(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    look(inner)

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        look(parser)
        raise SystemExit

    for command in (main.main, build.main):
        with mock.patch.object(argparse.ArgumentParser, "parse_args", stop), contextlib.suppress(SystemExit):
            command([])
    return tuple(dict.fromkeys(found))


def _joined(arguments: Sequence[str]) -> bytes:
    return b"\0".join(each.encode("utf-8", "surrogatepass") for each in arguments)


def _split(data: bytes) -> list[str]:
    return [each.decode("utf-8", "surrogateescape") for each in data.split(b"\0")]
