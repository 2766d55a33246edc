"""Modulated deformable convolution: every tap of the kernel reads where its offset says, times its weight.

    offset [B,2K,H,W]  of K taps in the order of the kernel: the rows' and the columns' shifts, in pixels
    mask   [B,K,H,W]   what each tap's pixel is multiplied by

Reads between pixels are bilinear, and everything outside of the picture is zero.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["deform_conv"]


def deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution of `x`, padded so that its size stays. Exported, it is ONNX's `DeformConv` of opset 19."""
    if torch.onnx.is_in_onnx_export():
        exported: Tensor = _Exported.apply(x, offset, mask, weight, bias)  # type: ignore[no-untyped-call]
        return exported
    return _sampled(x, offset, mask, weight, bias)


def _sampled(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Tap by tap, so that no more than one shifted copy of `x` is alive."""
    batch, _, height, width = x.shape
    outputs, _, tall, wide = weight.shape
    rows = torch.arange(height, dtype=x.dtype, device=x.device).view(height, 1)
    columns = torch.arange(width, dtype=x.dtype, device=x.device)
    total = bias.view(1, outputs, 1, 1).expand(batch, outputs, height, width)
    for tap in range(tall * wide):
        row = rows + (tap // wide - tall // 2) + offset[:, 2 * tap]
        column = columns + (tap % wide - wide // 2) + offset[:, 2 * tap + 1]
        grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], -1)
        read = functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        taken = weight[:, :, tap // wide, tap % wide, None, None]
        total = total + functional.conv2d(read * mask[:, tap : tap + 1], taken)
    return total


class _Exported(torch.autograd.Function):
    """The convolution as one node, for exporters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], weight.shape[0], *x.shape[2:])  # an exporter looks at the shape alone

    @staticmethod
    def symbolic(g: Any, x: Any, offset: Any, mask: Any, weight: Any, bias: Any) -> Any:
        outputs, _, *kernel = weight.type().sizes()
        pads = [side // 2 for side in kernel] * 2
        made = g.op("DeformConv", x, weight, offset, bias, mask, kernel_shape_i=kernel, pads_i=pads)
        batch, _, *size = x.type().sizes()
        return made.setType(x.type().with_sizes([batch, outputs, *size]))
