"""The settings of IS-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.normalisation import check_normalisation
from trtmatte.compiler.families.shared.settings import Contrast
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size

NAME: Final = "isnet"
SIZE: Final = (1024, 1024)


@dataclass(frozen=True)
class Settings(Contrast):
    """`input_size` is the width and height that the network sees; left out, 1024x1024 or the file's own.

    The network sees `(picture - mean) / std` of a picture in 0…1. Known models bring the numbers that they were
    trained with; nothing in a file says them.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    mean: Sequence[float] = (0.5, 0.5, 0.5)
    std: Sequence[float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_size(self.input_size)
        check_normalisation(self.mean, self.std)
