"""Text that is safe to print."""

from __future__ import annotations

import pytest

from trtmatte.errors import printable
from trtmatte.support.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 视频 of a\u0301 100 %", "Größe 视频 of a\u0301 100 %"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\r\tand\0", r"\r\tand\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("line\u2028separator", r"line\u2028separator"),
        ("of bytes \udcff", r"of bytes \udcff"),
        ("\U000e0001tag", r"\U000e0001tag"),
        (r"a\nb", r"a\nb"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(printable(text)) == shown


def test_the_lines_of_a_message_become_one() -> None:
    error = ValueError("the first\n  the second\x1b[2J\r\nthe third\u2028the last")
    assert one_line(error) == r"the first the second\x1b[2J the third the last"
    assert one_line("") == ""
