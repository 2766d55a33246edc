"""Messages in one line."""

from __future__ import annotations

from trtmatte.errors import printable

__all__ = ["one_line"]


def one_line(message: object) -> str:
    """Return the lines of a message in one, without control characters. Names may have line breaks as well."""
    return printable(" ".join(line.strip() for line in str(message).splitlines()))
