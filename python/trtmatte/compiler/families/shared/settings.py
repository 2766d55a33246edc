"""Settings that families share, as the beginnings of their `Settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.flags import flag_metadata
from trtmatte.compiler.families.shared.sizes import checked_method
from trtmatte.errors import SettingError

__all__ = ["Contrast", "Refinement"]

_MOST_RADIUS: Final = 64


@dataclass(frozen=True)
class Refinement:
    """The settings of families that can refine their alpha; their `Settings` begin with these.

    `refine_radius` is that of a window, in pixels of the small picture. `refine_epsilon` is the variance, of colours in
    0…1, below which a window counts as flat. The defaults are measured (`docs/measures.md`).
    """

    refine: bool = field(
        default=False, metadata=flag_metadata("fit the edges of the alpha to the colours of the frame", kind=bool)
    )
    refine_radius: int = 3
    refine_epsilon: float = 1e-4

    def __post_init__(self) -> None:
        if not 1 <= self.refine_radius <= _MOST_RADIUS:
            raise SettingError(f"refine_radius is {self.refine_radius}; expected pixels, 1…{_MOST_RADIUS}")
        if not 1e-8 <= self.refine_epsilon <= 1:
            raise SettingError(f"refine_epsilon is {self.refine_epsilon}; expected a variance, 1e-8…1")

    @property
    def facts(self) -> dict[str, bool | int | float]:
        """The settings as an engine keeps them; none without refinement."""
        if not self.refine:
            return {}
        return {"refine": True, "refine_radius": self.refine_radius, "refine_epsilon": self.refine_epsilon}


@dataclass(frozen=True)
class Contrast(Refinement):
    """The settings of families whose pictures and alphas are prepared as rembg does.

    rembg divides a picture by its largest value before it normalises it (`divide_by_maximum`), and stretches the
    result so that it reaches from 0 to 1 (`stretch`). `method` resizes the picture and, on the way back, the alpha.
    """

    divide_by_maximum: bool = True
    stretch: bool = True
    method: str = "lanczos"

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_method(self.method)
