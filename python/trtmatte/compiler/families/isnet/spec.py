"""The settings of ISNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.normalisation import check_normalisation
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size

NAME: Final = "isnet"
SIZE: Final = (1024, 1024)


@dataclass(frozen=True)
class Settings:
    """`input_size` is the width and height that the network sees; left out, the original's 1024x1024 or the file's own.

    Files of ISNet do not show how the picture was normalised when they were trained. The settings are the original's
    and rembg's: the picture is divided by its largest value (`divide_by_maximum`), normalised by `mean` and `std`, and
    the result is stretched so that it reaches from 0 to 1 (`stretch`). Known models bring settings of their own.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    divide_by_maximum: bool = True
    stretch: bool = True

    def __post_init__(self) -> None:
        checked_size(self.input_size)
        check_normalisation(self.mean, self.std)
