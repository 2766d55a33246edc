"""Text from files and names, made safe to print."""

from __future__ import annotations

__all__ = ["one_line", "printable"]


def printable(text: str) -> str:
    """Return the text with control characters as escapes: in a terminal they are commands, or hide what follows.

    Line breaks, directions of writing and halves of letters (undecodable bytes of names) count as such.
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def one_line(message: object) -> str:
    """Return the lines of a message in one, printable."""
    return printable(" ".join(line.strip() for line in str(message).splitlines()))
