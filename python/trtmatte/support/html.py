"""Tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["Row", "table"]

Row = tuple[str, Sequence[str]]
"""A title, and its lines."""


def table(rows: Iterable[Row], caption: str = "") -> str:
    """Rows as an HTML table. All text is escaped, and lines without text are left out."""
    cells = "".join(f"<tr><th>{_text([title])}</th><td>{_text(lines)}</td></tr>" for title, lines in rows)
    return f"<table>{f'<caption>{_text([caption])}</caption>' if caption else ''}{cells}</table>"


def _text(lines: Sequence[str]) -> str:
    return "<br>".join(html.escape(each) for each in lines if each)
