"""The settings of BiRefNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size

NAME: Final = "birefnet"
SIZE: Final = (1024, 1024)
DIVISOR: Final = 32
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
SAMPLING: Final = "antialias"
WAY_BACK: Final = "linear"


@dataclass(frozen=True)
class Settings:
    """`input_size` is the width and height that the network sees; left out, 1024x1024 or the file's own.

    rembg divides a picture by its largest value before it normalises it (`divide_by_maximum`) and stretches the
    result so that it reaches from 0 to 1 (`stretch`). The authors' scripts do neither.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    divide_by_maximum: bool = True
    stretch: bool = True

    def __post_init__(self) -> None:
        checked_size(self.input_size, DIVISOR)
