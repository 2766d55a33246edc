"""The most that a service allows files of strangers to ask for (`safe=True`, `--safe`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SAFE", "Limits"]


@dataclass(frozen=True)
class Limits:
    """The most that one file may ask for."""

    pixels: int = 1 << 26
    """Of a picture or of a frame: 67 megapixels, an 8K frame twice."""
    file_bytes: int = 1 << 30
    """Of a model, an engine or a picture."""

    @classmethod
    def of(cls, safe: bool | Limits) -> Limits | None:
        """The limits that a value of `safe` stands for; None for no limits."""
        return safe if isinstance(safe, Limits) else SAFE if safe else None


SAFE: Final = Limits()
