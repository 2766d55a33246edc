"""Old names, which work for one release with a notice. CHANGELOG.md lists them all."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from trtmatte.support.packages import ROOT

__all__ = ["notice", "notice_text"]


def notice_text(old: str, new: str) -> str:
    return f"{old} is now called {new}; the old name works in this release only"


def notice(old: str, new: str) -> None:
    """Warn that a name has changed, at the line outside trtmatte that uses it."""
    level = 1
    while ROOT in Path(sys._getframe(level).f_code.co_filename).parents and sys._getframe(level).f_back is not None:
        level += 1
    warnings.warn(notice_text(old, new), FutureWarning, stacklevel=level + 1)
