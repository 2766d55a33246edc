"""docs/commands.md has every command and every flag."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from trtmatte.cli import build, main

PAGE = (Path(__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")


def daily() -> argparse.ArgumentParser:
    """The parser of `trtmatte`, taken when it is about to parse."""
    found: list[argparse.ArgumentParser] = []

    class ParserReachedError(Exception):
        pass

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise ParserReachedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(ParserReachedError):
            main.main([])
    return found[0]


def parsers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, inner in action.choices.items():
                yield from parsers(inner, f"{name} {command}")


ALL = [*parsers(daily(), "trtmatte"), ("trtmatte-build", build._parser())]
FLAGS = [
    (command, option)
    for command, parser in ALL
    for action in parser._actions
    if action.help != argparse.SUPPRESS
    for option in action.option_strings
    if option.startswith("--")
]


@pytest.mark.parametrize("command", [name for name, _ in ALL])
def test_every_command_is_in_the_page(command: str) -> None:
    assert re.search(rf"`{command}\b", PAGE)


@pytest.mark.parametrize(("command", "option"), FLAGS)
def test_every_flag_is_in_the_page(command: str, option: str) -> None:
    assert re.search(rf"{re.escape(option)}(?![\w-])", PAGE), f"{option} of {command} is not in docs/commands.md"


def test_flags_are_found() -> None:
    assert {command for command, _ in FLAGS} >= {"trtmatte video", "trtmatte models list", "trtmatte-build"}
    assert len(FLAGS) > 100
