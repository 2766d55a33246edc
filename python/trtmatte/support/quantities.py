"""Amounts as people write them: 2GiB, 500MB, 30d."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["days", "size", "size_text"]

_LARGEST: Final = 1 << 62
_UNITS: Final = {"": 1, "b": 1} | {
    f"{letter}{middle}b": base**power
    for power, letter in enumerate("kmgt", start=1)
    for middle, base in (("i", 1024), ("", 1000))
}
"""The bytes in a unit, by its name in small letters."""

_SPANS: Final = {"m": 1 / 1440, "h": 1 / 24, "d": 1, "w": 7}  # in days


def size(text: str) -> int | None:
    """The bytes that a text such as 2GiB or 500MB means; None if it means none."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})", text.strip())
    unit = None if found is None else _UNITS.get(found[2].lower())
    if found is None or unit is None or (value := float(found[1]) * unit) > _LARGEST:
        return None
    return int(value)


def days(text: str) -> float | None:
    """The days that a text such as 30d, 12h or 2w means; None if it means none."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?([mhdw])", text.strip())
    return None if found is None else float(found[1]) * _SPANS[found[2]]


def size_text(count: int) -> str:
    """A number of bytes as a text, such as 1.5 GiB."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
