"""Old names, which work for one release with a notice. CHANGELOG.md lists them all."""

from __future__ import annotations

import warnings

__all__ = ["notice", "notice_text"]


def notice_text(old: str, new: str) -> str:
    return f"{old} is now called {new}; the old name works in this release only"


def notice(old: str, new: str) -> None:
    """Warn the caller of trtmatte that a name has changed."""
    warnings.warn(notice_text(old, new), FutureWarning, stacklevel=4)
