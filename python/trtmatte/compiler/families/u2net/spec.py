"""The settings of U-2-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.flags import flag
from trtmatte.compiler.families.shared.normalisation import check_normalisation
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size
from trtmatte.errors import SettingError

NAME: Final = "u2net"
SIZE: Final = (320, 320)
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
CLOTHES: Final = ("upper", "lower", "full")
"""The classes of the network for clothing, after the first one, which is all else."""


@dataclass(frozen=True)
class Settings:
    """`input_size` is the width and height that the network sees; left out, the original's or the file's own.

    The original divides a picture by its largest value before it normalises it by `mean` and `std`
    (`divide_by_maximum`) and stretches the result so that it reaches from 0 to 1 (`stretch`). The network for clothing
    does neither. Settings that are left out are those of the network. `clothes` are the clothes that it cuts out.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    divide_by_maximum: bool | None = None
    stretch: bool | None = None
    clothes: str = flag(
        "all",
        "clothes that a network for clothing cuts out (default: all)",
        choices=("all", *CLOTHES),
    )

    def __post_init__(self) -> None:
        checked_size(self.input_size)
        check_normalisation(self.mean, self.std)
        if self.clothes not in ("all", *CLOTHES):
            raise SettingError(f"clothes is {self.clothes!r}; expected one of all, {', '.join(CLOTHES)}")
