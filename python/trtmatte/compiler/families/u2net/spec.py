"""The settings of U-2-Net."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_method, checked_size

NAME: Final = "u2net"
SIZE: Final = (320, 320)
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Settings:
    """`input_size` is the width and height that the network sees; left out, the original's 320x320 or the file's own.

    The original divides a picture by its largest value before it normalises it (`divide_by_maximum`) and stretches the
    result so that it reaches from 0 to 1 (`stretch`). `method` resizes the picture and, on the way back, the alpha.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    divide_by_maximum: bool = True
    stretch: bool = True
    method: str = "lanczos"

    def __post_init__(self) -> None:
        checked_size(self.input_size)
        checked_method(self.method)
