"""Pyramid Vision Transformer, version 2: attention of all pixels to a shrunk picture."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared.transformer import attend, heads_of

_EPS: Final = 1e-6  # of the normalisations of blocks and levels; those of the patches have PyTorch's own
_SHRINK: Final = (8, 4, 2, 1)  # of the picture that the pixels of each level attend to
_HEADS: Final = (1, 2, 5, 8)


class Attention(nn.Module):
    """x [B,H,W,C]; keys and values are of a picture smaller by `shrink`."""

    def __init__(self, channels: int, heads: int, shrink: int) -> None:
        super().__init__()
        self.heads, self.shrink = heads, shrink
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if shrink > 1:
            self.sr = nn.Conv2d(channels, channels, shrink, shrink)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)) if self.shrink > 1 else x
        parts = zip(self.kv.weight.chunk(2), self.kv.bias.chunk(2), strict=True)
        k, v = (heads_of(seen.flatten(1, 2), weight, bias, self.heads) for weight, bias in parts)
        q = heads_of(x.flatten(1, 2), self.q.weight, self.q.bias, self.heads)
        y: Tensor = self.proj(attend(q, k, v)).reshape(x.shape)
        return y


class Depthwise(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y


class SpatialMlp(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, inner)
        self.dwconv = Depthwise(inner)
        self.fc2 = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.dwconv(self.fc1(x))))
        return y


class Block(nn.Module):
    def __init__(self, channels: int, heads: int, shrink: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_EPS)
        self.attn = Attention(channels, heads, shrink)
        self.norm2 = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = SpatialMlp(channels, expansion * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Patches(nn.Module):
    """Overlapping patches as one pixel each."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return y


class Pvt(nn.Module):
    """picture → features at 1/4, 1/8, 1/16 and 1/32, of `channels` each."""

    def __init__(self, channels: tuple[int, ...], depths: tuple[int, ...], expansions: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        inputs = (3, *channels)
        for level in range(4):
            kernel, stride = (7, 4) if level == 0 else (3, 2)
            self.add_module(f"patch_embed{level + 1}", Patches(inputs[level], channels[level], kernel, stride))
        for level, width in enumerate(channels):
            blocks = (Block(width, _HEADS[level], _SHRINK[level], expansions[level]) for _ in range(depths[level]))
            self.add_module(f"block{level + 1}", nn.Sequential(*blocks))
            self.add_module(f"norm{level + 1}", nn.LayerNorm(width, eps=_EPS))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for level in range(1, 5):
            x = self.get_submodule(f"patch_embed{level}")(x)
            x = self.get_submodule(f"norm{level}")(self.get_submodule(f"block{level}")(x)).permute(0, 3, 1, 2)
            levels.append(x)
        return levels
