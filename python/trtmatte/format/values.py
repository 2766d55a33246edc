"""Values of files that may be anything: each is checked for its type and range before it is used.

A ModelError names the value, what was expected and the place.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Final

from trtmatte.errors import ModelError

__all__ = ["DEEPEST", "entries", "members", "name", "number", "require_shallow", "shown", "text", "whole"]

DEEPEST: Final = 32
_LONGEST_NAME: Final = 1000


def members(value: Any, title: str, *names: str) -> dict[str, Any]:
    """An object, which has at least these members."""
    if not isinstance(value, dict):
        raise ModelError(f"{title} is {shown(value)}; expected an object")
    if missing := [each for each in names if each not in value]:
        raise ModelError(f"{title} lacks {', '.join(missing)}")
    return value


def entries(value: Any, title: str, most: int) -> Sequence[Any]:
    """A list with at most this many entries."""
    if not isinstance(value, (list, tuple)):
        raise ModelError(f"{title} is {shown(value)}; expected a list")
    if len(value) > most:
        raise ModelError(f"{title} has {len(value)} entries; expected at most {most}")
    return value


def text(value: Any, title: str) -> str:
    """A text that can be shown as it is. It may be empty."""
    if not isinstance(value, str):
        raise ModelError(f"{title} is {shown(value)}; expected a text")
    if len(value) > _LONGEST_NAME or not value.isprintable():
        raise ModelError(
            f"{title} is {shown(value)}; expected at most {_LONGEST_NAME} characters, none of them for control"
        )
    return value


def name(value: Any, title: str) -> str:
    """A text that is not empty."""
    if not text(value, title):
        raise ModelError(f"{title} is empty; expected a name")
    return str(value)


def whole(value: Any, title: str, low: int, high: int) -> int:
    """A whole number in a range. `true` and `1.0` are none."""
    if type(value) is not int or not low <= value <= high:
        raise ModelError(f"{title} is {shown(value)}; expected a whole number from {low} to {high}")
    return value


def number(value: Any, title: str, low: float, high: float) -> float:
    """A number in a range, which NaN and infinities never are."""
    if type(value) not in (int, float) or not low <= value <= high:
        raise ModelError(f"{title} is {shown(value)}; expected a number from {low:g} to {high:g}")
    return float(value)


def shown(value: Any) -> str:
    """A value in a message: the beginning of a long one."""
    return reprlib.repr(value)


def require_shallow(value: Any, title: str) -> None:
    """Refuse lists and objects in each other so deep that whatever walks through them may run out of stack."""
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        if not inner:
            return
        level = inner
    raise ModelError(f"{title} has lists and objects more than {DEEPEST} deep in each other")
