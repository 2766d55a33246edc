"""Text from files of strangers, for messages."""

from __future__ import annotations

__all__ = ["shown"]


def shown(text: object, longest: int = 100) -> str:
    """Text without control characters, cut to a length."""
    whole = str(text)[: longest + 1]
    plain = whole if whole.isprintable() else ascii(whole)[1:-1]
    return plain if len(whole) <= longest else f"{plain[:longest]}…"
