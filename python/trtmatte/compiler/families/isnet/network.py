"""IS-Net: U-2-Net's levels behind a convolution that halves the picture, without the fusion of their maps."""

import torch
from torch import Tensor, nn

from trtmatte.compiler.families.shared.layers import resize_like
from trtmatte.compiler.families.shared.rsu import FULL, SideMaps


class ISNet(SideMaps):
    """`d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,1,H,W]` after the sigmoid; d1 is the result.

    `image` is `[B,3,H,W]`, RGB, normalised. A compiler takes `alpha`, which is d1 alone.
    """

    def __init__(self) -> None:
        super().__init__(FULL, conv_in=nn.Conv2d(3, 64, 3, stride=2, padding=1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        d1, d2, d3, d4, d5, d6 = self._levels(self.conv_in(image))
        maps = [self.side1(d1), self.side2(d2), self.side3(d3), self.side4(d4), self.side5(d5), self.side6(d6)]
        d1, d2, d3, d4, d5, d6 = [torch.sigmoid(resize_like(each, image)) for each in maps]
        return d1, d2, d3, d4, d5, d6

    def alpha(self, image: Tensor) -> Tensor:
        """→ d1, the result."""
        finest = self._levels(self.conv_in(image))[0]
        return torch.sigmoid(resize_like(self.side1(finest), image))
