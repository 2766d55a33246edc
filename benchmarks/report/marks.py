"""The generated part of a page, which lies between two marks."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["between"]


def between(begin: str, end: str, text: str, parts: Iterable[str], page: str) -> str:
    """Return the text of `page` with these parts in the place of what lies between the marks."""
    inside = "\n\n".join(["", *parts, ""])
    found, count = re.subn(f"{begin}.*{end}", lambda _: f"{begin}{inside}{end}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{page} has {count} pairs of {begin} and {end}; expected one")
    return found
