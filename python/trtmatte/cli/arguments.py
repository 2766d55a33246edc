"""Parsing of flags, the flags of the families, and old names of flags."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, TypedDict

from trtmatte.compiler.families import registry
from trtmatte.support.renamed import notice_text

__all__ = ["add_family_flags", "add_old_name", "add_set_flag", "described", "setting", "size"]


def size(text: str) -> tuple[int, int]:
    """Parse a size, such as 1920x1080."""
    width, separator, height = text.partition("x")
    if not (separator and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 1920x1080")
    return int(width), int(height)


def setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE. The value is a size, a number, true or false, a word, or several with commas between."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} is no setting; expected NAME=VALUE, such as downsample_ratio=0.25")
    return name.replace("-", "_"), _parsed(value)


class Texts(TypedDict):
    """The texts of a command: in the list of commands, and as a sentence in the command's own help."""

    help: str
    description: str


def described(text: str) -> Texts:
    """Make both texts of a command from one."""
    return {"help": text, "description": f"{text[0].upper()}{text[1:]}."}


def add_family_flags(parser: argparse._ActionsContainer) -> list[str]:
    """Add the flags that the families describe. Returns their names."""
    found = registry.flags()
    for name, (families, flag) in found.items():
        names = [f"--{name.replace('_', '-')}", *flag.aliases]
        text = f"{', '.join(families)}: {flag.help}"
        if flag.kind is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, help=text)
        else:
            kind = flag.kind if isinstance(flag.kind, type) else str
            parser.add_argument(*names, type=kind, metavar=flag.metavar, choices=flag.choices, help=text)
    add_set_flag(parser, "another setting of the model's family, such as segmentation=true or mean=0.5,0.5,0.5")
    return list(found)


def add_set_flag(parser: argparse._ActionsContainer, help: str) -> None:
    """Add `--set NAME=VALUE`, which collects settings of a family."""
    parser.add_argument(
        "--set", type=setting, action="append", default=[], dest="settings", metavar="NAME=VALUE", help=help
    )


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
            print(f"{parser.prog}: {notice_text(old, new)}", file=sys.stderr)
            setattr(namespace, dest, values)

    parser.add_argument(old, action=Renamed, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)


def _parsed(text: str) -> Any:
    if "," in text:
        return tuple(_parsed(part) for part in text.split(","))
    try:
        return size(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        return json.loads(text)
    except ValueError:
        return text
