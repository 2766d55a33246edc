"""The parsers of all commands, and their flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from trtmatte.cli import build, main


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


ALL = {**dict(parsers(daily(), "trtmatte")), "trtmatte-build": build._parser()}
