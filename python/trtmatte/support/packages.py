"""This package's own folder and code, and the versions of installed packages."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
from pathlib import Path
from typing import Final

from trtmatte.version import __version__

__all__ = ["ROOT", "code_hash", "release_of", "version_of"]

ROOT: Final = Path(__file__).parents[1]
"""The folder of the package `trtmatte`."""


@functools.lru_cache
def code_hash() -> str:
    """A hash of this package's code, since a checkout changes without its version."""
    digest = hashlib.sha256(__version__.encode())
    folder = Path(__file__).resolve().parents[1]  # `ROOT` may be a folder of links, as in a rehearsal
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"\n{path.relative_to(folder).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """The version of an installed package, without importing it; None if it is missing or damaged."""
    try:
        return importlib.metadata.version(package)
    except Exception:  # a damaged installation counts as none
        return None


def release_of(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
