"""Flags: the settings of a family that the commands offer as `--flags`, described where the settings are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

__all__ = ["Flag", "flag", "flag_metadata", "flags_of"]

_KEY: Final = "flag"


@dataclass(frozen=True)
class Flag:
    """The form of a flag. `kind` is `int`, `float`, `bool`, `str`, "size" (WxH) or "number or word"."""

    help: str
    kind: type | str = str
    metavar: str | None = None
    choices: Sequence[Any] | None = None
    aliases: tuple[str, ...] = ()  # the names of the original projects' scripts


def flag(default: Any, help: str, **more: Any) -> Any:
    """A field of a family's `Settings` that is also a flag: `--downsample-ratio` for `downsample_ratio`."""
    return field(default=default, metadata=flag_metadata(help, **more))


def flag_metadata(help: str, **more: Any) -> dict[str, Flag]:
    """The metadata of a field, for a flag that several families share."""
    return {_KEY: Flag(help, **more)}


def flags_of(settings: Any) -> dict[str, Flag]:
    """The flags of a family by the names of the settings."""
    return {each.name: each.metadata[_KEY] for each in fields(settings) if _KEY in each.metadata}
