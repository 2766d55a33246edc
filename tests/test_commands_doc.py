"""docs/commands.md has every command and every flag."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from tests.cli.commands import ALL

PAGE = (Path(__file__).parents[1] / "docs" / "commands.md").read_text("utf-8")


FLAGS = [
    (command, option)
    for command, parser in ALL.items()
    for action in parser._actions
    if action.help != argparse.SUPPRESS
    for option in action.option_strings
    if option.startswith("--")
]


@pytest.mark.parametrize("command", ALL)
def test_every_command_is_in_the_page(command: str) -> None:
    assert re.search(rf"`{command}\b", PAGE)


@pytest.mark.parametrize(("command", "option"), FLAGS)
def test_every_flag_is_in_the_page(command: str, option: str) -> None:
    assert re.search(rf"{re.escape(option)}(?![\w-])", PAGE), f"{option} of {command} is not in docs/commands.md"


def test_flags_are_found() -> None:
    assert {command for command, _ in FLAGS} >= {"trtmatte video", "trtmatte models list", "trtmatte-build"}
    assert len(FLAGS) > 100
