"""The U-shaped network of small U-shaped networks that U-2-Net and IS-Net have in common."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared.layers import resize_like

Widths = tuple[int, int, int]
"""The inputs, the inner width and the outputs of a stage."""

_HEIGHTS = {
    "stage1": 7,
    "stage2": 6,
    "stage3": 5,
    "stage4": 4,
    "stage5": 0,
    "stage6": 0,
    "stage5d": 0,
    "stage4d": 4,
    "stage3d": 5,
    "stage2d": 6,
    "stage1d": 7,
}
"""The height of each stage's U; 0 is the flat one."""

FULL: Mapping[str, Widths] = {
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
"""The widths of the large networks, whose first stage reads 64 maps."""

_SIDES = ("stage1d", "stage2d", "stage3d", "stage4d", "stage5d", "stage6")


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn_s1(self.conv_s1(x)))


class SmallU(nn.Module):
    """A small U-shaped network of `height` levels. Height 0: dilated convolutions, no shrinking."""

    def __init__(self, height: int, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.flat = height == 0
        self.height = height or 4
        down = [2**level for level in range(4)] if self.flat else [1] * (self.height - 1) + [2]
        up = down if self.flat else [1] * self.height
        self.rebnconvin = Unit(inputs, outputs)
        for level in range(1, self.height + 1):
            self.add_module(f"rebnconv{level}", Unit(outputs if level == 1 else inner, inner, down[level - 1]))
        for level in range(self.height - 1, 0, -1):
            unit = Unit(2 * inner, outputs if level == 1 else inner, up[level - 1])
            self.add_module(f"rebnconv{level}d", unit)

    def forward(self, x: Tensor) -> Tensor:
        top, y = x, x
        skips: list[Tensor] = []
        for number, unit in enumerate(self.children()):  # in the order in which they were made; scripts know no names
            level = number if number <= self.height else 2 * self.height - number
            if number == 0:
                top = y = unit(x)
            elif number <= self.height:
                y = unit(_shrink(y) if not self.flat and 1 < level < self.height else y)
                skips.append(y)
            else:
                skip = skips[level - 1]
                y = resize_like(y, skip) if not self.flat and level < self.height - 1 else y
                y = unit(torch.cat([y, skip], 1))
        return top + y


def _shrink(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


class SideMaps(nn.Module):
    """Six stages down, five up, and from six of them a map each, its `classes` being channels."""

    def __init__(self, widths: Mapping[str, Widths], classes: int = 1, conv_in: nn.Module | None = None) -> None:
        """`conv_in` is in front of them, in the state_dict as well."""
        super().__init__()
        if conv_in is not None:
            self.conv_in = conv_in
        stages = [SmallU(height, *widths[name]) for name, height in _HEIGHTS.items()]
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5, self.stage6 = stages[:6]
        self.stage5d, self.stage4d, self.stage3d, self.stage2d, self.stage1d = stages[6:]
        sides = [nn.Conv2d(widths[stage][2], classes, 3, padding=1) for stage in _SIDES]
        self.side1, self.side2, self.side3, self.side4, self.side5, self.side6 = sides

    def _levels(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The outputs of stage1d to stage5d and of stage6."""
        s1 = self.stage1(image)
        s2 = self.stage2(_shrink(s1))
        s3 = self.stage3(_shrink(s2))
        s4 = self.stage4(_shrink(s3))
        s5 = self.stage5(_shrink(s4))
        d6 = self.stage6(_shrink(s5))
        d5 = self.stage5d(_join(d6, s5))
        d4 = self.stage4d(_join(d5, s4))
        d3 = self.stage3d(_join(d4, s3))
        d2 = self.stage2d(_join(d3, s2))
        d1 = self.stage1d(_join(d2, s1))
        return d1, d2, d3, d4, d5, d6


def _join(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([resize_like(x, skip), skip], 1)
