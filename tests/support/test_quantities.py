"""Amounts as people write them."""

from __future__ import annotations

import pytest

from trtmatte.support import quantities


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("12", 12),
        ("4GiB", 4 << 30),
        ("4 gib", 4 << 30),
        ("1.5kb", 1500),
        ("500MB", 500_000_000),
        ("2TiB", 2 << 40),
        ("", None),
        ("-1", None),
        ("4G", None),
        ("GiB", None),
        ("1e9", None),
        ("inf", None),
        ("99999999999999TiB", None),
        ("4\uff27iB", None),
    ],
)
def test_sizes(text: str, count: int | None) -> None:
    assert quantities.size(text) == count


@pytest.mark.parametrize(
    ("text", "days"), [("30d", 30), ("12h", 0.5), ("2w", 14), ("0d", 0), ("90 m", 0.0625), ("30", None), ("d", None)]
)
def test_spans(text: str, days: float | None) -> None:
    assert quantities.days(text) == days


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (4 << 30, "4.0 GiB"), (1 << 45, "32.0 TiB")],
)
def test_texts(count: int, text: str) -> None:
    assert quantities.size_text(count) == text
