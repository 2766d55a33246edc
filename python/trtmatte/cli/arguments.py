"""Parsing of flags, the flags of the families, and old names of flags."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

from trtmatte.cli import scripts, values
from trtmatte.cli.process import WRONG, complain, tell
from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.support.renamed import notice_text
from trtmatte.support.text import one_line
from trtmatte.version import __version__

__all__ = [
    "Parser",
    "add_family_flag",
    "add_family_flags",
    "add_old_name",
    "add_safe_flag",
    "add_set_flag",
    "add_version_flag",
    "described",
    "family_settings",
]

_LONGEST: Final = 600  # letters of a message about a flag
_KINDS: Final = {
    int: values.whole(0),
    float: values.number(),
    "size": values.size,
    "number or word": values.number_or_word,
}
"""How the text of a family's flag is read, by the kind of the flag. Others are words."""


_WRONG_CHOICE: Final = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)")
_FOR_FILES: Final = {
    "COMMAND": "a file follows a command: trtmatte image PICTURE, or trtmatte video VIDEO",
    "--output": "-o takes the name of a file",
}
"""Where a file belongs that stands in the place of one of these choices."""

_OF_REMBG: Final = {
    "i": "rembg's i is trtmatte image",
    "p": "rembg's p is trtmatte image",
    "b": "rembg's b is trtmatte video - OUT --raw WIDTHxHEIGHT",
    "d": "rembg's d is trtmatte models pull",
    "s": "rembg's s is trtmatte serve",
}
"""What stands in the place of the commands of rembg."""


class Parser(argparse.ArgumentParser):
    """A parser that prints an error in one line, and its help like other results."""

    def print_help(self, file: Any = None) -> None:
        tell(self.format_help().rstrip("\n"))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is not known is an error here, so that the message names the command."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._meant(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        wrong = _WRONG_CHOICE.search(message)
        if wrong:
            argument, value, choices = wrong.groups()
            like = difflib.get_close_matches(value, re.findall(r"[\w.-]+", choices), 1)
            if argument == "COMMAND" and value in _OF_REMBG:
                message += f"; {_OF_REMBG[value]}"
            elif like:
                message += f"; did you mean {like[0]}?"
            elif Path(value).suffix and argument in _FOR_FILES:
                message += f"; {_FOR_FILES[argument]}"
        complain(self.prog, f"{_shortened(one_line(message))}; {self.prog} --help lists the flags")
        raise SystemExit(WRONG)

    def _meant(self, words: Sequence[str]) -> str:
        """Return a question with the flag that is most like the first one of these."""
        wrong = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        like = difflib.get_close_matches(wrong, self._option_string_actions, 1)
        return f"; did you mean {like[0]}?" if like else ""


def _shortened(message: str) -> str:
    """Leave out the middle of a message with a value that is very long."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]}…{message[-_LONGEST // 2 :]}"


class Texts(TypedDict):
    """The texts of a command: in the list of commands, and as a sentence in the command's own help."""

    help: str
    description: str


def described(text: str) -> Texts:
    """Make both texts of a command from one."""
    return {"help": text, "description": f"{text[0].upper()}{text[1:]}."}


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--version`, which prints the version and ends."""

    class Version(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
            tell(f"{parser.prog} {__version__}")
            parser.exit()

    parser.add_argument("--version", action=Version, nargs=0, default=argparse.SUPPRESS, help="print the version")


def add_family_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--family`."""
    names = ", ".join(family.name for family in registry.families())
    parser.add_argument(
        "--family", type=values.name, metavar="NAME", help=f"{names} (default: recognised from the content)"
    )


def add_family_flags(parser: argparse._ActionsContainer) -> list[str]:
    """Add the flags that the families describe. Returns their names."""
    found = registry.flags()
    for name, (families, flag) in found.items():
        names = [f"--{name.replace('_', '-')}", *flag.aliases]
        text = f"{', '.join(families)}: {flag.help}"
        if flag.kind is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, help=text)
        else:
            kind = _KINDS.get(flag.kind, values.name)
            parser.add_argument(*names, type=kind, metavar=flag.metavar, choices=flag.choices, help=text)
    scripts.add_refine_mode(parser)
    add_set_flag(parser, "another setting of the model's family, such as segmentation=true or mean=0.5,0.5,0.5")
    return list(found)


def add_set_flag(parser: argparse._ActionsContainer, help: str) -> None:
    """Add `--set NAME=VALUE`, which collects settings of a family."""
    parser.add_argument(
        "--set", type=values.setting, action="append", default=[], dest="settings", metavar="NAME=VALUE", help=help
    )


def add_safe_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--safe`, for files of strangers."""
    parser.add_argument(
        "--safe",
        action="store_true",
        help="for files of strangers: run no plans of an engine, read no other files that a model names, and refuse "
        "what is too large",
    )


def family_settings(given: Mapping[str, Any], more: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the family's settings: those that have a flag of their own, and `more` of them from `--set`."""
    chosen = {name: given[name] for name in registry.flags() if given.get(name) is not None}
    registry.require_known(name for name, _ in more)
    for name, value in more:
        if name in chosen:
            raise SettingError(f"{name} is given twice; leave one of them out")
        chosen[name] = value
    return chosen


def add_old_name(parser: argparse._ActionsContainer, old: str, new: str, dest: str, **options: Any) -> None:
    """Add a flag by its old name, which works for one release with a notice."""

    class Renamed(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            complain(parser.prog, notice_text(old, new))
            setattr(namespace, dest, values)

    parser.add_argument(old, action=Renamed, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)
