"""The settings of U-2-Net."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.flags import flag
from trtmatte.compiler.families.shared.settings import Contrast
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_size
from trtmatte.errors import SettingError

NAME: Final = "u2net"
SIZE: Final = (320, 320)
CLOTHING_SIZE: Final = (768, 768)
GARMENTS: Final = ("all", "upper", "lower", "full")
"""What a network for clothing cuts out. After the first, in the order of its classes, which the background precedes."""
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Settings(Contrast):
    """`input_size` is the width and height that the network sees; left out, the original's 320x320 or the file's own.

    `divide_by_maximum` and `stretch` are habits of the original too. `garment` is for networks for clothing, whose
    alpha is the probability of all clothing or of one kind; it is not stretched, since a picture may have none.
    """

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    garment: str = flag("all", "the clothing that u2net-cloth cuts out (default: all)", choices=GARMENTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_size(self.input_size)
        if self.garment not in GARMENTS:
            raise SettingError(f"garment is {self.garment!r}; expected one of {', '.join(GARMENTS)}")
