"""Files of the cache with their hash in front: a damaged one is as good as none."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from trtmatte.support.files import replacing

__all__ = ["read_checked", "write_checked"]

_HASH_BYTES: Final = hashlib.sha256().digest_size


def read_checked(path: Path) -> memoryview | None:
    """The content as it was written; None if there is no such file or it has changed."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    content = data[_HASH_BYTES:]
    return content if hashlib.sha256(content).digest() == data[:_HASH_BYTES] else None


def write_checked(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; an EngineError if that fails."""
    with replacing(path) as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
