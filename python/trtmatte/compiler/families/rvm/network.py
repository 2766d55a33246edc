"""Robust Video Matting's networks.

A frame passes three parts: everything over the small picture (`encode` or `foreground`), the lift of the guided
filter's A and b to the frame, and the clamps. Only the first is a network; the other two are trtmatte's GuidedUpsample.
"""

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.rvm.mobilenetv3 import MobileNetV3
from trtmatte.compiler.families.shared.layers import conv_bn, conv_bn_relu, resize_like, scale
from trtmatte.compiler.families.shared.resnet import ResNet
from trtmatte.errors import SettingError

States = tuple[Tensor, Tensor, Tensor, Tensor]
Given = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class LRASPP(nn.Module):
    """The deepest features, fewer, and gated by their means."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.aspp1 = conv_bn_relu(inputs, outputs)
        self.aspp2 = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.aspp1(x) * self.aspp2(x)
        return y


class ConvGRU(nn.Module):
    """A recurrent unit over maps. The frames of a chunk, `x[B * T]`, pass one after the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.ih = nn.Sequential(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.Sigmoid())
        self.hh = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.Tanh())

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        reset, update = self.ih(torch.cat([x, h], 1)).split(self.channels, dim=1)
        candidate = self.hh(torch.cat([x, reset * h], 1))
        state: Tensor = (1 - update) * h + update * candidate
        return state

    def forward(self, x: Tensor, h: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """All outputs, and the state after the last frame."""
        if length == 1:
            state = self.step(x, _full_state(x, h))
            return state, state
        outputs: list[Tensor] = []
        for frame in x.unflatten(0, [-1, length]).unbind(1):  # type: ignore[no-untyped-call]
            h = self.step(frame, _full_state(frame, h))
            outputs.append(h)
        return torch.stack(outputs, 1).flatten(0, 1), outputs[-1]


def _full_state(x: Tensor, h: Tensor | None) -> Tensor:
    """No state is zeros. One of 1x1 pixels, as callers of the ONNX files pass at first, is spread."""
    return torch.zeros_like(x) if h is None else h.expand_as(x)


class BottleneckBlock(nn.Module):
    """The deepest level: half of the channels through a recurrent unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGRU(channels // 2)

    def forward(self, x: Tensor, h: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        still, moving = x.chunk(2, dim=1)
        moving, h = self.gru(moving, h, length)
        return torch.cat([still, moving], 1), h


class UpsamplingBlock(nn.Module):
    """One level up: join the features and the picture of that size, then half of the channels through a unit."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv_bn_relu(inputs + skip + 3, outputs, 3)
        self.gru = ConvGRU(outputs // 2)

    def forward(self, x: Tensor, skip: Tensor, picture: Tensor, h: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        x = self.conv(torch.cat([_double(x, picture), skip, picture], 1))
        still, moving = x.chunk(2, dim=1)
        moving, h = self.gru(moving, h, length)
        return torch.cat([still, moving], 1), h


class OutputBlock(nn.Module):
    """The last level up: no features, no recurrence."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*conv_bn(inputs + 3, outputs, 3), nn.ReLU(), *conv_bn(outputs, outputs, 3), nn.ReLU())

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        y: Tensor = self.conv(torch.cat([_double(x, picture), picture], 1))
        return y


def _double(x: Tensor, like: Tensor) -> Tensor:
    """Twice the size, cropped at the right and the bottom where `like` is odd."""
    return scale(x, 2.0)[:, :, : like.shape[2], : like.shape[3]]


class RecurrentDecoder(nn.Module):
    def __init__(self, features: tuple[int, int, int, int], widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.decode4 = BottleneckBlock(features[3])
        self.decode3 = UpsamplingBlock(features[3], features[2], widths[0])
        self.decode2 = UpsamplingBlock(widths[0], features[1], widths[1])
        self.decode1 = UpsamplingBlock(widths[1], features[0], widths[2])
        self.decode0 = OutputBlock(widths[2], widths[3])

    def forward(
        self,
        picture: Tensor,
        features: tuple[Tensor, Tensor, Tensor, Tensor],
        states: Given,
        length: int,
    ) -> tuple[Tensor, States]:
        f1, f2, f3, f4 = features
        r1, r2, r3, r4 = states
        s1 = _halve(picture)
        s2 = _halve(s1)
        s3 = _halve(s2)
        x, h4 = self.decode4(f4, r4, length)
        x, h3 = self.decode3(x, f3, s3, r3, length)
        x, h2 = self.decode2(x, f2, s2, r2, length)
        x, h1 = self.decode1(x, f1, s1, r1, length)
        return self.decode0(x, picture), (h1, h2, h3, h4)


def _halve(x: Tensor) -> Tensor:
    """Half the size, rounded up; windows that stick out average the pixels that exist."""
    return functional.avg_pool2d(x, 2, stride=2, ceil_mode=True, count_include_pad=False)


class Projection(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class GuidedFilter(nn.Module, ABC):
    """The coefficients A and b that carry a small matte to the frame as `A * x + b`, x being `guide(frame)`."""

    @abstractmethod
    def box(self, x: Tensor) -> Tensor:
        """The mean around each pixel."""

    @abstractmethod
    def slope(self, covariance: Tensor, variance: Tensor, hidden: Tensor) -> Tensor:
        """The coefficient A."""

    def forward(self, picture: Tensor, matte: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        x = guide(picture)
        mean_x, mean_y = self.box(x), self.box(matte)
        covariance = self.box(x * matte) - mean_x * mean_y
        variance = self.box(x * x) - mean_x * mean_x
        A = self.slope(covariance, variance, hidden)
        return A, mean_y - A * mean_x


class DeepGuidedFilter(GuidedFilter):
    """The slope is learnt, and so are the weights of the box."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.box_filter = nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=4)
        nn.init.constant_(self.box_filter.weight, 1 / 9)
        self.conv = nn.Sequential(
            *conv_bn(8 + hidden, hidden), nn.ReLU(), *conv_bn(hidden, hidden), nn.ReLU(), nn.Conv2d(hidden, 4, 1)
        )

    def box(self, x: Tensor) -> Tensor:
        y: Tensor = self.box_filter(x)
        return y

    def slope(self, covariance: Tensor, variance: Tensor, hidden: Tensor) -> Tensor:
        A: Tensor = self.conv(torch.cat([covariance, variance, hidden], 1))
        return A


class FastGuidedFilter(GuidedFilter):
    """The classic one, without parameters. Ill-conditioned where the picture is smooth: run it in float32."""

    row: Tensor
    column: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.eps = 1e-5
        third = torch.full((4, 1, 1, 3), 1 / 3)
        self.register_buffer("row", third, persistent=False)
        self.register_buffer("column", third.reshape(4, 1, 3, 1), persistent=False)

    def box(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.row, padding=(0, 1), groups=4)
        return functional.conv2d(x, self.column, padding=(1, 0), groups=4)

    def slope(self, covariance: Tensor, variance: Tensor, hidden: Tensor) -> Tensor:
        return covariance / (variance + self.eps)


def guide(picture: Tensor) -> Tensor:
    """The picture and the mean of its channels: one guide for each channel of the matte."""
    return torch.cat([picture, picture.mean(1, keepdim=True)], 1)


# Channels of LR-ASPP and of the decoder's levels, deepest first.
_WIDTHS = {"mobilenetv3": (128, (80, 40, 32, 16)), "resnet50": (256, (128, 64, 32, 16))}
_REFINERS: dict[str, type[GuidedFilter]] = {
    "deep_guided_filter": DeepGuidedFilter,
    "fast_guided_filter": FastGuidedFilter,
}


class RobustVideoMatting(nn.Module):
    """`fgr, pha, r1, r2, r3, r4 = network(src, r1, r2, r3, r4, downsample_ratio=0.25)`.

    `src` is `[B,3,H,W]` or a chunk `[B,T,3,H,W]`, RGB, 0…1. States are None at first and belong to one size of
    the small picture. With `segmentation_pass=True` the logits `seg` at the small size take the place of `fgr, pha`.

    A compiler takes the parts instead, each over the small picture `src_sm` and full-sized states:

    - `encode` where a refiner runs: A and b for GuidedUpsample;
    - `foreground` where none does (ratio 1): the matte itself, which is GuidedUpsample's b with an A of zeros;
    - `segment` for the logits.
    """

    def __init__(self, backbone: str = "mobilenetv3", refiner: str = "deep_guided_filter") -> None:
        super().__init__()
        if refiner not in _REFINERS:
            raise SettingError(f"refiner={refiner!r} is not known; choose {' or '.join(map(repr, _REFINERS))}")
        self.backbone = MobileNetV3() if backbone == "mobilenetv3" else ResNet(backbone)
        aspp, widths = _WIDTHS[backbone]
        f1, f2, f3, f4 = self.backbone.channels
        self.aspp = LRASPP(f4, aspp)
        self.decoder = RecurrentDecoder((f1, f2, f3, aspp), widths)
        self.project_mat = Projection(widths[3], 4)
        self.project_seg = Projection(widths[3], 1)
        self.refiner = _REFINERS[refiner]()
        self.always_refine = False
        """Refine at ratio 1 too, as the official ONNX files do."""

    def forward(
        self,
        src: Tensor,
        r1: Tensor | None = None,
        r2: Tensor | None = None,
        r3: Tensor | None = None,
        r4: Tensor | None = None,
        downsample_ratio: float = 1,
        segmentation_pass: bool = False,
    ) -> tuple[Tensor, ...]:
        return tuple(self._run(src, (r1, r2, r3, r4), downsample_ratio, segmentation_pass))

    def __prepare_scriptable__(self) -> nn.Module:
        """The module that `torch.jit.script` takes in place of this one."""
        twin = copy.copy(self)
        twin.__class__ = ScriptableRvm
        return twin

    def _run(self, src: Tensor, given: Given, downsample_ratio: float, segmentation_pass: bool) -> list[Tensor]:
        chunk = src.ndim == 5
        length = src.shape[1] if chunk else 1
        frames = src.flatten(0, 1) if chunk else src
        src_sm = scale(frames, downsample_ratio) if downsample_ratio != 1 else frames
        hidden, (r1, r2, r3, r4) = self._decode(src_sm, given, length)
        if segmentation_pass:
            pictures = [self.project_seg(hidden)]
        else:
            refine = downsample_ratio != 1 or self.always_refine
            pictures = self._matte(frames, src_sm, hidden, refine)
        if chunk:
            pictures = [picture.unflatten(0, [-1, length]) for picture in pictures]
        return pictures + [r1, r2, r3, r4]  # noqa: RUF005, scripts know no stars here

    def encode(self, src_sm: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        """→ `A, b, r1, r2, r3, r4`, A and b `[B,4,h,w]` of the guided filter."""
        hidden, states = self._decode(src_sm, (r1, r2, r3, r4))
        A, b = self.refiner(src_sm, self.project_mat(hidden), hidden)
        return (A, b, *states)

    def foreground(self, src_sm: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        """→ `matte, r1, r2, r3, r4`, the matte `[B,4,h,w]` being the foreground residual and alpha, not clamped."""
        hidden, states = self._decode(src_sm, (r1, r2, r3, r4))
        return (self.project_mat(hidden), *states)

    def segment(self, src_sm: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        """→ `seg, r1, r2, r3, r4`, the logits `[B,1,h,w]`."""
        hidden, states = self._decode(src_sm, (r1, r2, r3, r4))
        return (self.project_seg(hidden), *states)

    def _decode(self, src_sm: Tensor, states: Given, length: int = 1) -> tuple[Tensor, States]:
        f1, f2, f3, f4 = self.backbone(src_sm)
        hidden, new_states = self.decoder(src_sm, (f1, f2, f3, self.aspp(f4)), states, length)
        return hidden, new_states

    def _matte(self, src: Tensor, src_sm: Tensor, hidden: Tensor, refine: bool) -> list[Tensor]:
        matte = self.project_mat(hidden)
        if refine:
            A, b = self.refiner(src_sm, matte, hidden)
            matte = resize_like(A, src) * guide(src) + resize_like(b, src)
        residual, pha = matte.split([3, 1], dim=1)
        return [(residual + src).clamp(0, 1), pha.clamp(0, 1)]


class ScriptableRvm(RobustVideoMatting):
    """The network as `torch.jit.script` compiles it: the results are a list, as a tuple has one length in a script."""

    def forward(  # type: ignore[override]
        self,
        src: Tensor,
        r1: Tensor | None = None,
        r2: Tensor | None = None,
        r3: Tensor | None = None,
        r4: Tensor | None = None,
        downsample_ratio: float = 1,
        segmentation_pass: bool = False,
    ) -> list[Tensor]:
        return self._run(src, (r1, r2, r3, r4), downsample_ratio, segmentation_pass)
