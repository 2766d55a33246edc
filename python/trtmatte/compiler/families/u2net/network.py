"""U-2-Net: a U-shaped network of small U-shaped networks, for one picture of any size."""

import torch
from torch import Tensor, nn

from trtmatte.compiler.families.shared.layers import resize_like
from trtmatte.compiler.families.shared.rsu import FULL, SideMaps

_FULL = {**FULL, "stage1": (3, 32, 64)}
_SMALL = {name: (128 if name.endswith("d") else 64, 16, 64) for name in _FULL} | {"stage1": (3, 16, 64)}


class U2Net(SideMaps):
    """`d0, d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,classes,H,W]`; d0 is the result.

    `image` is `[B,3,H,W]`, RGB, normalised by ImageNet's mean and deviation. The results of one class are after the
    sigmoid; those of several are logits. A compiler takes `alpha` or `logits`, which are d0 alone.
    """

    def __init__(self, size: str = "full", classes: str = "1") -> None:
        super().__init__(_FULL if size == "full" else _SMALL, int(classes))
        self.outconv = nn.Conv2d(6 * int(classes), int(classes), 1)
        self.is_mask = classes == "1"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        sides = self._sides(image)
        maps = [self.outconv(torch.cat(sides, 1))]
        maps.extend(sides)
        d0, d1, d2, d3, d4, d5, d6 = [torch.sigmoid(each) for each in maps] if self.is_mask else maps
        return d0, d1, d2, d3, d4, d5, d6

    def alpha(self, image: Tensor) -> Tensor:
        """→ d0, the result, of one class."""
        return torch.sigmoid(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """→ d0 before an activation."""
        fused: Tensor = self.outconv(torch.cat(self._sides(image), 1))
        return fused

    def _sides(self, image: Tensor) -> list[Tensor]:
        """The logits of the six levels, in the picture's size."""
        d1, d2, d3, d4, d5, d6 = self._levels(image)
        first: Tensor = self.side1(d1)
        small = [self.side2(d2), self.side3(d3), self.side4(d4), self.side5(d5), self.side6(d6)]
        return [first] + [resize_like(side, first) for side in small]
