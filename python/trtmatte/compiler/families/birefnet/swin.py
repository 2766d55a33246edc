"""Swin Transformer: attention within windows, shifted by half a window in every second block.

Pictures are `[B,H,W,C]` inside. Sizes are plain numbers, also for exporters, so that all masks are constants.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared.transformer import Mlp, attend, heads_of

_APART: Final = -1000.0  # is added to the logits of pixels that do not see each other; a float16 can hold twice that
_PATCH: Final = 4


class Windows:
    """How a picture of a height and a width falls into windows of `side` pixels, after a roll by `shift`."""

    def __init__(self, height: int, width: int, side: int, shift: int) -> None:
        self.height, self.width, self.side, self.shift = height, width, side, shift
        self.rows, self.columns = -(-height // side), -(-width // side)

    def split(self, x: Tensor) -> Tensor:
        """[B,H,W,C] → [B·windows, pixels, C], with zeros where the picture does not fill the windows."""
        batch, channels, side = int(x.shape[0]), int(x.shape[3]), self.side
        below, beside = self.rows * side - self.height, self.columns * side - self.width
        if below or beside:
            x = functional.pad(x, (0, 0, 0, beside, 0, below))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.reshape(batch, self.rows, side, self.columns, side, channels).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(batch * self.rows * self.columns, side * side, channels)

    def join(self, x: Tensor) -> Tensor:
        """The picture that `split` took apart."""
        side, channels = self.side, int(x.shape[2])
        batch = int(x.shape[0]) // (self.rows * self.columns)
        x = x.reshape(batch, self.rows, self.columns, side, side, channels).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, self.rows * side, self.columns * side, channels)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, : self.height, : self.width]

    def mask(self) -> Tensor:
        """[windows,1,pixels,pixels]: the roll brings pixels together that are far apart; they do not see each other."""
        rows, columns = (self._bands(count) for count in (self.rows, self.columns))
        bands = (3 * rows[:, None] + columns).reshape(self.rows, self.side, self.columns, self.side)
        bands = bands.transpose(0, 2, 1, 3).reshape(self.rows * self.columns, self.side**2)
        apart = bands[:, None, :, None] != bands[:, None, None, :]
        return torch.from_numpy(np.where(apart, np.float32(_APART), np.float32(0)))

    def _bands(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Of each row or column: before the last window, in its part that stays, in the part that was rolled in."""
        places = np.arange(count * self.side)
        return np.searchsorted([(count - 1) * self.side, count * self.side - self.shift], places, side="right")


class WindowAttention(nn.Module):
    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _places(side))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B·windows, pixels, C]; mask [windows,1,pixels,pixels]."""
        pixels = int(x.shape[1])
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(pixels, pixels, self.heads).permute(2, 0, 1)[None]
        parts = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        q, k, v = (heads_of(x, weight, offset, self.heads) for weight, offset in parts)
        y: Tensor = self.proj(attend(q, k, v, bias, None if mask is None else mask.to(x)))
        return y


def _places(side: int) -> Tensor:
    """The row of the table for each pair of pixels: by how much one lies below and beside the other."""
    row, column = torch.arange(side * side) // side, torch.arange(side * side) % side
    below, beside = row[:, None] - row + side - 1, column[:, None] - column + side - 1
    return below * (2 * side - 1) + beside


class Block(nn.Module):
    def __init__(self, channels: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, side)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        windows = Windows(int(x.shape[1]), int(x.shape[2]), self.side, self.shift)
        seen = self.attn(windows.split(self.norm1(x)), windows.mask() if self.shift else None)
        x = x + windows.join(seen)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Merge(nn.Module):
    """Half the size, twice the channels: each output is made of four pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        below, beside = int(x.shape[1]) % 2, int(x.shape[2]) % 2
        if below or beside:
            x = functional.pad(x, (0, 0, 0, beside, 0, below))
        four = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        y: Tensor = self.reduction(self.norm(torch.cat(four, -1)))
        return y


class Layer(nn.Module):
    def __init__(self, channels: int, heads: int, side: int, depth: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels, heads, side, side // 2 * (at % 2)) for at in range(depth)))
        if not last:
            self.downsample = Merge(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """→ the level's features, and what the next level reads."""
        x = self.blocks(x)
        return x, self.downsample(x) if hasattr(self, "downsample") else x


class Patches(nn.Module):
    """Squares of four pixels a side as one pixel each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, _PATCH, _PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return y


class Swin(nn.Module):
    """picture → features at 1/4, 1/8, 1/16 and 1/32, of `channels` each."""

    def __init__(self, width: int, depths: tuple[int, ...], heads: tuple[int, ...], side: int) -> None:
        super().__init__()
        self.channels = tuple(width << level for level in range(4))
        self.patch_embed = Patches(width)
        self.layers = nn.ModuleList(
            Layer(channels, heads[level], side, depths[level], level == 3)
            for level, channels in enumerate(self.channels)
        )
        for level, channels in enumerate(self.channels):
            self.add_module(f"norm{level}", nn.LayerNorm(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        levels: list[Tensor] = []
        for level, layer in enumerate(self.layers):
            features, x = layer(x)
            levels.append(self.get_submodule(f"norm{level}")(features).permute(0, 3, 1, 2))
        return levels
