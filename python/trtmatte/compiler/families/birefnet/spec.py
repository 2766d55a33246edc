"""The settings of BiRefNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.settings import Contrast
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size

NAME: Final = "birefnet"
SIZE: Final = (1024, 1024)
DIVISOR: Final = 32
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Settings(Contrast):
    """`input_size` is the width and height that the network sees; left out, 1024x1024 or the file's own.

    `divide_by_maximum` and `stretch` are rembg's habits. The authors' scripts do neither.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_size(self.input_size, DIVISOR)
