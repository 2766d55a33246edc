"""ResNet-50 and -101 as feature pyramids whose last level stays at 1/16, dilated instead of strided."""

from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared.layers import conv_bn

_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride or the dilation, 1x1 to four times the width, plus the shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1, project: bool = False) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = conv_bn(inputs, width)
        self.conv2, self.bn2 = conv_bn(width, width, 3, stride=stride, dilation=dilation)
        self.conv3, self.bn3 = conv_bn(width, outputs)
        self.downsample = nn.Sequential(*conv_bn(inputs, outputs, stride=stride)) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(y + shortcut)


def _layer(inputs: int, width: int, blocks: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """The first block is never dilated: it stands where the stride used to be."""
    first = Bottleneck(inputs, width, stride=stride, project=True)
    rest = [Bottleneck(4 * width, width, dilation=dilation) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


class ResNet(nn.Module):
    """picture → features at 1/2 (64 channels), 1/4 (256), 1/8 (512) and 1/16 (2048)."""

    channels = (64, 256, 512, 2048)

    def __init__(self, depth: str, inputs: int = 3) -> None:
        super().__init__()
        blocks = _BLOCKS[depth]
        self.conv1, self.bn1 = conv_bn(inputs, 64, 7, stride=2)
        self.layer1 = _layer(64, 64, blocks[0])
        self.layer2 = _layer(256, 128, blocks[1], stride=2)
        self.layer3 = _layer(512, 256, blocks[2], stride=2)
        self.layer4 = _layer(1024, 512, blocks[3], dilation=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        half = functional.relu(self.bn1(self.conv1(x)))
        quarter = self.layer1(functional.max_pool2d(half, 3, stride=2, padding=1))
        eighth = self.layer2(quarter)
        sixteenth = self.layer4(self.layer3(eighth))
        return half, quarter, eighth, sixteenth
