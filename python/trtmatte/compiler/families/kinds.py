"""The kinds of settings: a family compares its settings with numbers and words without looking first."""

from __future__ import annotations

import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Final

from trtmatte.errors import SettingError

__all__ = ["require_kinds"]

_NAMES: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
_LARGEST: Final = 2.0**31  # no setting needs more, and a float can hold it


def require_kinds(settings: type, given: Mapping[str, Any]) -> None:
    """Raise a SettingError unless the values are of the kinds that the dataclass `settings` names.

    Sizes and sequences are left to the family.
    """
    hints = typing.get_type_hints(settings)
    for name, value in given.items():
        kinds = _kinds(hints[name])
        if any(kind in _NAMES for kind in kinds) and not any(_is(value, kind) for kind in kinds):
            expected = " or ".join(_NAMES[kind] for kind in kinds if kind in _NAMES)
            raise SettingError(f"{name} is {reprlib.repr(value)}; expected {expected}")


def _kinds(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _is(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        kinds = (int,) if kind is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST
    return isinstance(value, kind) if isinstance(kind, type) else False
