"""The MobileNetV3 (large) backbone of Robust Video Matting: features at 1/2, 1/4, 1/8 and 1/16."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared.layers import conv_bn

_EPS = 1e-3  # of every normalisation in this backbone, and only here
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class _Block(NamedTuple):
    kernel: int
    inputs: int
    width: int
    outputs: int
    squeeze: int  # 0: no gate
    activation: type[nn.Module]
    stride: int = 1
    dilation: int = 1


_RE, _HS = nn.ReLU, nn.Hardswish
_BLOCKS = (
    _Block(3, 16, 16, 16, 0, _RE),
    _Block(3, 16, 64, 24, 0, _RE, stride=2),
    _Block(3, 24, 72, 24, 0, _RE),
    _Block(5, 24, 72, 40, 24, _RE, stride=2),
    _Block(5, 40, 120, 40, 32, _RE),
    _Block(5, 40, 120, 40, 32, _RE),
    _Block(3, 40, 240, 80, 0, _HS, stride=2),
    _Block(3, 80, 200, 80, 0, _HS),
    _Block(3, 80, 184, 80, 0, _HS),
    _Block(3, 80, 184, 80, 0, _HS),
    _Block(3, 80, 480, 112, 120, _HS),
    _Block(3, 112, 672, 112, 168, _HS),
    _Block(5, 112, 672, 160, 168, _HS, dilation=2),
    _Block(5, 160, 960, 160, 240, _HS, dilation=2),
    _Block(5, 160, 960, 160, 240, _HS, dilation=2),
)


class Gate(nn.Module):
    """Scale each channel by a factor computed from the means of all channels."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = functional.adaptive_avg_pool2d(x, 1)
        return x * functional.hardsigmoid(self.fc2(functional.relu(self.fc1(means))))


class InvertedResidual(nn.Module):
    """Expand, depthwise, gate, project."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if block.width != block.inputs:
            layers.append(nn.Sequential(*conv_bn(block.inputs, block.width, eps=_EPS), block.activation()))
        depthwise = conv_bn(
            block.width,
            block.width,
            block.kernel,
            stride=block.stride,
            dilation=block.dilation,
            groups=block.width,
            eps=_EPS,
        )
        layers.append(nn.Sequential(*depthwise, block.activation()))
        if block.squeeze:
            layers.append(Gate(block.width, block.squeeze))
        layers.append(nn.Sequential(*conv_bn(block.width, block.outputs, eps=_EPS)))
        self.block = nn.Sequential(*layers)
        self.residual = block.stride == 1 and block.inputs == block.outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """picture (0…1, normalised in here) → features at 1/2 (16 channels), 1/4 (24), 1/8 (40) and 1/16 (960)."""

    channels = (16, 24, 40, 960)

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(*conv_bn(3, 16, 3, stride=2, eps=_EPS), nn.Hardswish())
        last = nn.Sequential(*conv_bn(160, 960, eps=_EPS), nn.Hardswish())
        self.features = nn.ModuleList([first, *(InvertedResidual(block) for block in _BLOCKS), last])
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = (x - self.mean) / self.std
        levels: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in [1, 3, 6, 16]:
                levels.append(x)
        half, quarter, eighth, sixteenth = levels
        return half, quarter, eighth, sixteenth
