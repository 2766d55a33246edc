"""The value of every flag of every command is checked: what it cannot be ends in one line that names the flag."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.commands import ALL
from trtmatte.cli import build, main, process, scripts, values

NUMBERS = [
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e30",
    "1e400",
    str(10**400),
    "9" * 5000,
    "",
    "x",
    "²",
    "1__000",
    "_1",
    "0x10",
]
NAMES = ["", "a\0b", "\ud800", "n" * 300, "/n" * 3000, "/".join(["n" * 300, "x"])]
LIMITS = {  # of NUMBERS, those that a flag takes
    "seq_chunk": [],
    "num_workers": ["0"],
    "crf": ["0"],
    "start": ["0"],
    "end": ["0"],
    "camera": ["0", "nan", "inf", "-inf", "1e30", "1e400", "x", "1__000", "_1", "0x10", "²"],  # names of files
    "downsample_ratio": ["0", "-1", "nan", "inf", "1e30", "x"],
    "refine_sample_pixels": ["0"],
    "backbone_scale": ["0", "-1"],
    "refine_threshold": ["0", "-1"],
    "bgcolor": ["0"],
    "alpha_matting": ["0"],
    "trtmatte cache prune size": ["0"],
    "trtmatte serve port": ["0"],
    "trtmatte serve streams": ["0"],
}
WORDS = {str, values.name, values.path, scripts.backend, scripts.precision, None}

Flag = tuple[str, argparse.Action]
FLAGS: list[Flag] = [
    (command, action)
    for command, parser in ALL.items()
    for action in parser._actions
    if action.nargs != 0 and not isinstance(action, argparse._SubParsersAction)
]


def needed(command: str) -> list[str]:
    """What a command cannot do without."""
    return {
        "trtmatte video": ["in.mp4", "--engine=e"],
        "trtmatte image": ["in.png", "-o=out", "--engine=e"],
        "trtmatte live": ["--engine=e"],
        "trtmatte models pull": ["name"],
        "trtmatte inspect": ["m.onnx"],
        "trtmatte-build": ["m.onnx"],
    }.get(command, [])


def given(command: str, action: argparse.Action, value: str) -> list[str]:
    """The arguments with which an action gets this value."""
    if not action.option_strings:
        return [*(each for each in needed(command) if each.startswith("-")), "--", value]
    option = action.option_strings[0]
    rest = [each for each in needed(command) if not each.startswith((f"{option}=", "-o=" if option == "-o" else " "))]
    if option in ("--model", "--engine"):
        rest = [each for each in rest if not each.startswith("--engine")]
    more = [value] * (action.nargs - 1 if isinstance(action.nargs, int) else 0)
    return [*rest, f"{option}={value}" if not more else option, *([value, *more] if more else [])]


def parse(command: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parse as the command does, and return what it would do its work with."""
    seen: list[Any] = []
    if command == "trtmatte-build":
        monkeypatch.setattr(build, "_run", lambda found: seen.append(found) or 0)
        assert build.main(arguments) == 0
    else:
        parser = ALL[command]
        monkeypatch.setattr(process, "finished", lambda *_: 0)
        monkeypatch.setattr(argparse.Namespace, "command", "", raising=False)
        assert main.main([*command.split()[1:], *arguments]) == 0
        seen.append(vars(parser.parse_args(arguments)))
    return seen[0]


def refused(
    command: str, action: argparse.Action, value: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> str | None:
    """The message with which a value is refused; None if it is taken."""
    status = 0
    try:
        parse(command, given(command, action, value), monkeypatch)
    except SystemExit as error:
        status = int(error.code or 0)
    told: str = capsys.readouterr().err
    if not status:
        return None
    assert (status, told.count("\n")) == (2, 1)
    assert len(told) < 1000
    return told


@pytest.mark.parametrize(
    ("command", "action"),
    [each for each in FLAGS if each[1].type not in WORDS and each[1].dest != "settings"],
    ids=lambda value: value if isinstance(value, str) else value.dest,
)
def test_numbers(command: str, action: argparse.Action, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    taken = []
    for value in NUMBERS:
        told = refused(command, action, value, monkeypatch, capsys)
        if told is None:
            taken.append(value)
        else:
            assert re.match(rf"{command}: argument \S*{re.escape(action.option_strings[0])}\b", told), told
            assert "expected" in told or "choose from" in told or "unrecognized" in told, told
    assert set(taken) == set(LIMITS.get(f"{command} {action.dest}", LIMITS.get(action.dest, []))), taken


@pytest.mark.parametrize(
    ("command", "action"),
    [each for each in FLAGS if each[1].type in WORDS and each[1].choices is None],
    ids=lambda value: value if isinstance(value, str) else value.dest,
)
def test_names(command: str, action: argparse.Action, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for value in NAMES:
        told = refused(command, action, value, monkeypatch, capsys)
        assert told is not None, f"{command} {action.dest} takes {value[:20]!r}"
        assert "expected " in told or "required" in told, told


def test_there_are_flags() -> None:
    assert len(FLAGS) > 90
    assert len([each for _, each in FLAGS if each.type not in WORDS]) > 50
