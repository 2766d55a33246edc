"""Files of the cache with their hash in front: a damaged one is as good as none."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from trtmatte.support.files import replacing

__all__ = ["read_checked", "write_checked"]

_HASH_BYTES: Final = hashlib.sha256().digest_size


def read_checked(path: Path) -> bytes | None:
    """The content as it was written; None if there is no such file or it has changed."""
    try:
        with path.open("rb") as file:
            expected, content = file.read(_HASH_BYTES), file.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == expected else None


def write_checked(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; an EngineError if that fails."""
    with replacing(path) as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
