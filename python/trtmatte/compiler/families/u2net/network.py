"""U-2-Net: a U-shaped network of small U-shaped networks, for one picture of any size."""

import torch
from torch import Tensor, nn

from trtmatte.compiler.families.shared.layers import resize_like
from trtmatte.compiler.families.shared.nested_u import NestedU

_SIDES = 6
_CLASSES = 4  # of clothing: all else, upper, lower, full


class U2Net(NestedU):
    """`d0, d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,1,H,W]` after the sigmoid; d0 is the result.

    `image` is `[B,3,H,W]`, RGB, normalised by ImageNet's mean and deviation. A compiler takes `alpha`,
    which is d0 alone.
    """

    def __init__(self, size: str = "full") -> None:
        super().__init__(size)
        self.outconv = nn.Conv2d(_SIDES, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        sides = _enlarged(self.sides(image))
        d0 = torch.sigmoid(self.outconv(torch.cat(sides, 1)))
        d1, d2, d3, d4, d5, d6 = [torch.sigmoid(side) for side in sides]
        return d0, d1, d2, d3, d4, d5, d6

    def alpha(self, image: Tensor) -> Tensor:
        """→ d0, the result."""
        return torch.sigmoid(self.outconv(torch.cat(_enlarged(self.sides(image)), 1)))


class U2NetCloth(NestedU):
    """`d0, d1, d2, d3, d4, d5, d6 = network(image)`, each `[B,4,H,W]`: logits of all else and of clothes.

    `image` is `[B,3,H,W]`, RGB, from -1 to 1. A compiler takes `logits`, which is d0 alone.
    """

    def __init__(self) -> None:
        super().__init__(classes=_CLASSES)
        self.outconv = nn.Conv2d(_SIDES * _CLASSES, _CLASSES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        sides = _enlarged(self.sides(image))
        d0 = self.outconv(torch.cat(sides, 1))
        d1, d2, d3, d4, d5, d6 = sides
        return d0, d1, d2, d3, d4, d5, d6

    def logits(self, image: Tensor) -> Tensor:
        """→ d0, the result."""
        logits: Tensor = self.outconv(torch.cat(_enlarged(self.sides(image)), 1))
        return logits


def _enlarged(sides: list[Tensor]) -> list[Tensor]:
    """The side outputs in the size of the first, which is the picture's."""
    return [sides[0]] + [resize_like(side, sides[0]) for side in sides[1:]]
