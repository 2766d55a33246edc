"""BiRefNet: a transformer's features of the picture and of its half, and a decoder that looks at the picture again.

At every level the decoder reads the picture itself, cut into patches (the inward reference), and an attention that was
trained to see gradients weighs its result (the outward reference). Bilinear here means corners on corners.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.birefnet.pvt import Pvt
from trtmatte.compiler.families.birefnet.spec import DIVISOR
from trtmatte.compiler.families.birefnet.swin import Swin
from trtmatte.compiler.families.shared.deform_conv import deform_conv
from trtmatte.compiler.families.shared.layers import require_multiple, tracing

SWIN: Final = {  # width, depths, heads, side of the windows
    "swin_t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin_l": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}
PVT: Final = {  # channels, depths, expansions of the four levels
    "pvt_b0": ((32, 64, 160, 256), (2, 2, 2, 2), (8, 8, 4, 4)),
    "pvt_b1": ((64, 128, 320, 512), (2, 2, 2, 2), (8, 8, 4, 4)),
    "pvt_b2": ((64, 128, 320, 512), (3, 4, 6, 3), (8, 8, 4, 4)),
    "pvt_b5": ((64, 128, 320, 512), (3, 6, 40, 3), (4, 4, 4, 4)),
}
_INNER: Final = 64  # channels inside a block of the decoder
_BRANCH: Final = 256  # of each branch of its pyramid
_GRADIENT: Final = 16
_KERNELS: Final = (1, 3, 7)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    if tuple(x.shape[2:]) == (height, width):
        return x
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=True)


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    return resize(x, int(like.shape[2]), int(like.shape[3]))


def patches(image: Tensor, like: Tensor) -> Tensor:
    """The picture cut into as many pieces as give the size of `like`, one behind the other in the channels."""
    batch, channels = int(image.shape[0]), int(image.shape[1])
    height, width = int(like.shape[2]), int(like.shape[3])
    rows, columns = int(image.shape[2]) // height, int(image.shape[3]) // width
    if rows == columns == 1:
        return image
    pieces = image.reshape(batch, channels, rows, height, columns, width).permute(0, 1, 2, 4, 3, 5)
    return pieces.reshape(batch, channels * rows * columns, height, width)


class DeformableConv(nn.Module):
    """A convolution that chooses the places it reads, and how much each counts, by two others."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        pad = kernel // 2
        self.offset_conv = nn.Conv2d(inputs, 2 * kernel**2, kernel, padding=pad)
        self.modulator_conv = nn.Conv2d(inputs, kernel**2, kernel, padding=pad)
        self.regular_conv = nn.Conv2d(inputs, outputs, kernel, padding=pad, bias=False)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The convolution, normalised by a scale and a shift of each channel."""
        weight = self.regular_conv.weight * scale.view(-1, 1, 1, 1)
        return deform_conv(x, self.offset_conv(x), 2 * torch.sigmoid(self.modulator_conv(x)), weight, shift)


class Branch(nn.Module):
    def __init__(self, inputs: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv(inputs, _BRANCH, kernel)
        self.bn = nn.BatchNorm2d(_BRANCH)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            plain = torch.ones_like(self.bn.weight)
            return functional.relu(self.bn(self.atrous_conv(x, plain, torch.zeros_like(plain))))
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None
        assert variance is not None
        scale = self.bn.weight / torch.sqrt(variance + self.bn.eps)
        return functional.relu(self.atrous_conv(x, scale, self.bn.bias - mean * scale))


class Pyramid(nn.Module):
    """Deformable convolutions of several sizes side by side, and the mean of everything."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aspp1 = Branch(channels, 1)
        self.aspp_deforms = nn.ModuleList(Branch(channels, kernel) for kernel in _KERNELS)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, _BRANCH, 1, bias=False), nn.BatchNorm2d(_BRANCH), nn.ReLU()
        )
        self.conv1 = nn.Conv2d((2 + len(_KERNELS)) * _BRANCH, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.aspp1(x), *(branch(x) for branch in self.aspp_deforms)]
        mean = self.global_avg_pool(x).expand(-1, -1, int(x.shape[2]), int(x.shape[3]))
        return functional.relu(self.bn1(self.conv1(torch.cat([*branches, mean], 1))))


class DecoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, _INNER, 3, padding=1)
        self.dec_att = Pyramid(_INNER)
        self.conv_out = nn.Conv2d(_INNER, outputs, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(_INNER)
        self.bn_out = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dec_att(functional.relu(self.bn_in(self.conv_in(x))))
        y: Tensor = self.bn_out(self.conv_out(x))
        return y


class PictureBlock(nn.Module):
    """The picture's own contribution: two convolutions without an activation between."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, _INNER, 3, padding=1)
        self.conv_out = nn.Conv2d(_INNER, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_out(self.conv1(x))
        return y


class Lateral(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


def _gradient(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, _GRADIENT, 3, padding=1), nn.BatchNorm2d(_GRADIENT), nn.ReLU())


class Decoder(nn.Module):
    """`widths` are the channels of the features, deepest first. Heads that only training needs keep their names."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        outputs = (*widths[1:], widths[3] // 2)
        given = [widths[max(level - 1, 0)] // 8 for level in range(5)]  # channels that the picture contributes
        for level, number in enumerate((5, 4, 3, 2, 1)):
            cut = 3 << 2 * number if number > 1 else 3
            self.add_module(f"ipt_blk{number}", PictureBlock(cut, given[level]))
        for level, number in enumerate((4, 3, 2, 1)):
            self.add_module(f"decoder_block{number}", DecoderBlock(widths[level] + given[level], outputs[level]))
        self.conv_out1 = nn.Sequential(nn.Conv2d(outputs[3] + given[4], 1, 1))
        coarse = tuple(zip((4, 3, 2), outputs, strict=False))
        for number, channels in coarse:
            self.add_module(f"lateral_block{number}", Lateral(channels))
        for number, channels in coarse:
            self.add_module(f"conv_ms_spvn_{number}", nn.Conv2d(channels, 1, 1))
        for number, channels in coarse:
            self.add_module(f"gdt_convs_{number}", _gradient(channels))
        for kind in ("pred", "attn"):
            for number, _ in coarse:
                self.add_module(f"gdt_convs_{kind}_{number}", nn.Sequential(nn.Conv2d(_GRADIENT, 1, 1)))

    def forward(self, image: Tensor, levels: list[Tensor]) -> Tensor:
        """The logits in the picture's size. `levels` are the features from the deepest on."""
        x = levels[0]
        for number, finer in zip((4, 3, 2), levels[1:], strict=True):
            x = self._part(f"decoder_block{number}", self._with_picture(x, image, number + 1))
            seen = self._part(f"gdt_convs_{number}", x)
            x = x * torch.sigmoid(self._part(f"gdt_convs_attn_{number}", seen))
            x = resize_like(x, finer) + self._part(f"lateral_block{number}", finer)
        x = self._part("decoder_block1", self._with_picture(x, image, 2))
        x = self._with_picture(resize_like(x, image), image, 1)
        logits: Tensor = self.conv_out1(x)
        return logits

    def _with_picture(self, x: Tensor, image: Tensor, number: int) -> Tensor:
        return torch.cat([x, self._part(f"ipt_blk{number}", patches(image, x))], 1)

    def _part(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.get_submodule(name)(x)
        return y


class BiRefNet(nn.Module):
    """`logits = network(image)`, `[B,1,H,W]`; the alpha is their sigmoid.

    `image` is `[B,3,H,W]`, RGB, normalised by ImageNet's mean and deviation, its sides multiples of 32. A compiler
    takes `alpha`.
    """

    def __init__(self, backbone: str = "swin_l") -> None:
        super().__init__()
        self.bb = Swin(*SWIN[backbone]) if backbone in SWIN else Pvt(*PVT[backbone])
        widths = tuple(2 * channels for channels in reversed(self.bb.channels))
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(widths), widths[0]))
        self.decoder = Decoder(widths)

    def forward(self, image: Tensor) -> Tensor:
        if not tracing():
            require_multiple(image, DIVISOR, "BiRefNet")
        half = resize(image, int(image.shape[2]) // 2, int(image.shape[3]) // 2)
        both = zip(self.bb(image), self.bb(half), strict=True)
        levels = [torch.cat([whole, resize_like(small, whole)], 1) for whole, small in both]
        context = [*(resize_like(each, levels[3]) for each in levels[:3]), levels[3]]
        levels[3] = self.squeeze_module(torch.cat(context, 1))
        logits: Tensor = self.decoder(image, levels[::-1])
        return logits

    def alpha(self, image: Tensor) -> Tensor:
        """→ the alpha `[B,1,H,W]`."""
        return torch.sigmoid(self(image))
