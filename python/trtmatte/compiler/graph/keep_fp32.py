"""The rule of a family for fp16 plans: which nodes stay in float32 (`docs/precision.md`)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KeepFp32"]


@dataclass(frozen=True)
class KeepFp32:
    """A node stays in float32 if any of these rules finds it. `compiler.graph.precision` applies them."""

    stem: int = 0
    """The nodes up to this many convolutions from the inputs."""
    sums: int | None = None
    """Sums of more terms than this."""
    offsets: float | None = None
    """Additions of constants larger than this, with their neighbours."""
