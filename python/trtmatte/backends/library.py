"""Python packages that backends need: installed, loadable, or the reason why not."""

from __future__ import annotations

import importlib
import importlib.util

__all__ = ["unavailable_reason"]


def unavailable_reason(title: str, package: str) -> str | None:
    """The reason why a package cannot be imported, with the remedy; None if it can."""
    if importlib.util.find_spec(package) is None:
        return f"{title} is not installed: pip install {package}"
    try:
        importlib.import_module(package)
    except (Exception, SystemExit) as error:  # a missing shared library can raise anything
        return f"{title} is installed but cannot be loaded ({error}): pip install --force-reinstall {package}"
    return None
