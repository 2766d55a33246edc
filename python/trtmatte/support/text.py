"""Text from files and names of strangers, for messages of one line."""

from __future__ import annotations

from trtmatte.errors import printable

__all__ = ["first_line", "one_line", "shown"]


def first_line(error: BaseException) -> str:
    """Return the first line of the message of a library's error, or the error's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(message: object) -> str:
    """Return the lines of a message in one, without control characters. Names may have line breaks as well."""
    return printable(" ".join(line.strip() for line in str(message).splitlines()))


def shown(text: object, longest: int = 100) -> str:
    """Return the beginning of a text in one line."""
    whole = str(text)
    return one_line(whole) if len(whole) <= longest else f"{one_line(whole[:longest])}…"
