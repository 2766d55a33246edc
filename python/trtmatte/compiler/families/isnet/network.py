"""ISNet: U-2-Net's nested U behind a convolution that halves the picture, without a fusion of the side outputs."""

import torch
from torch import Tensor

from trtmatte.compiler.families.shared.layers import resize_like
from trtmatte.compiler.families.shared.nested_u import NestedU

_STEM = 64  # channels


class ISNet(NestedU):
    """`d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,1,H,W]` after the sigmoid; d1 is the result.

    `image` is `[B,3,H,W]`, RGB, from -0.5 to 0.5. A compiler takes `alpha`, which is d1 alone.
    """

    def __init__(self) -> None:
        super().__init__(stem=_STEM)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        sides = [torch.sigmoid(resize_like(side, image)) for side in self.sides(self.conv_in(image))]
        d1, d2, d3, d4, d5, d6 = sides
        return d1, d2, d3, d4, d5, d6

    def alpha(self, image: Tensor) -> Tensor:
        """→ d1, the result."""
        return torch.sigmoid(resize_like(self.finest(self.conv_in(image)), image))
