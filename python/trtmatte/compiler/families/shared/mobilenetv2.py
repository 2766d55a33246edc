"""MobileNetV2's blocks and layer table; the families that use it differ in dilation and in how they name layers."""

from torch import Tensor, nn

from trtmatte.compiler.families.shared.layers import conv_bn

# outputs, expansion, stride of features.1 to features.17
_BLOCKS = (
    (16, 1, 1),
    *((24, 6, 2), (24, 6, 1)),
    *((32, 6, 2), (32, 6, 1), (32, 6, 1)),
    *((64, 6, 2), (64, 6, 1), (64, 6, 1), (64, 6, 1)),
    *((96, 6, 1), (96, 6, 1), (96, 6, 1)),
    *((160, 6, 2), (160, 6, 1), (160, 6, 1)),
    (320, 6, 1),
)
_FIRST_AT_32 = 14


def conv_bn_relu6(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride=stride), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand, depthwise, project. `flat` strings all layers in one sequence; otherwise each ReLU closes a sequence."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, dilation: int, flat: bool) -> None:
        super().__init__()
        width = inputs * expansion
        depthwise = conv_bn(width, width, 3, stride=stride, dilation=dilation, groups=width)
        activated = [nn.Sequential(*depthwise, nn.ReLU6())]
        if expansion != 1:
            activated.insert(0, conv_bn_relu6(inputs, width))
        layers = [layer for sequence in activated for layer in sequence] if flat else activated
        self.conv = nn.Sequential(*layers, *conv_bn(width, outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def features(inputs: int, *, flat: bool, dilated: bool) -> list[nn.Module]:
    """features.0 to features.17. `dilated` keeps 1/16 from features.14 on, with dilation only after that block."""
    layers: list[nn.Module] = [conv_bn_relu6(inputs, 32, 3, stride=2)]
    channels = 32
    for index, (outputs, expansion, stride) in enumerate(_BLOCKS, start=1):
        dilation = 2 if dilated and index > _FIRST_AT_32 else 1
        if dilated and index == _FIRST_AT_32:
            stride = 1
        layers.append(InvertedResidual(channels, outputs, expansion, stride, dilation, flat))
        channels = outputs
    return layers
