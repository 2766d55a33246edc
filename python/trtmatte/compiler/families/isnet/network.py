"""IS-Net: U-2-Net's levels behind a convolution that halves the picture, without the fusion of their maps."""

import torch
from torch import Tensor, nn

from trtmatte.compiler.families.shared.layers import resize_like
from trtmatte.compiler.families.shared.rsu import SideMaps

# Of each stage, its inputs, inner width and outputs.
_WIDTHS = {
    "stage1": (64, 32, 64),
    "stage2": (64, 32, 128),
    "stage3": (128, 64, 256),
    "stage4": (256, 128, 512),
    "stage5": (512, 256, 512),
    "stage6": (512, 256, 512),
    "stage5d": (1024, 256, 512),
    "stage4d": (1024, 128, 256),
    "stage3d": (512, 64, 128),
    "stage2d": (256, 32, 64),
    "stage1d": (128, 16, 64),
}


class ISNet(SideMaps):
    """`d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,1,H,W]` after the sigmoid; d1 is the result.

    `image` is `[B,3,H,W]`, RGB, normalised. A compiler takes `alpha`, which is d1 alone.
    """

    def __init__(self) -> None:
        super().__init__(_WIDTHS)
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        d1, d2, d3, d4, d5, d6 = self._levels(self.conv_in(image))
        maps = [self.side1(d1), self.side2(d2), self.side3(d3), self.side4(d4), self.side5(d5), self.side6(d6)]
        d1, d2, d3, d4, d5, d6 = [torch.sigmoid(resize_like(each, image)) for each in maps]
        return d1, d2, d3, d4, d5, d6

    def alpha(self, image: Tensor) -> Tensor:
        """→ d1, the result."""
        finest = self._levels(self.conv_in(image))[0]
        return torch.sigmoid(resize_like(self.side1(finest), image))
