"""Building blocks of transformers over pictures."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Mlp", "attend", "heads_of"]


class Mlp(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, inner)
        self.fc2 = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


def heads_of(x: Tensor, weight: Tensor, bias: Tensor, heads: int) -> Tensor:
    """A linear layer's result by heads: [B, pixels, C] → [B, heads, pixels, C/heads]."""
    batch, pixels = int(x.shape[0]), int(x.shape[1])
    y = functional.linear(x, weight, bias)
    return y.reshape(batch, pixels, heads, int(weight.shape[0]) // heads).permute(0, 2, 1, 3)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Scaled attention, heads joined again: [B, pixels, C].

    `bias` [1,heads,pixels,pixels] and `mask` [windows,1,pixels,pixels] are added to the logits.
    """
    if torch.onnx.is_in_onnx_export():  # which would scale both q and k
        logits = (q * int(q.shape[3]) ** -0.5) @ k.transpose(2, 3)
        logits = logits if bias is None else logits + bias
        # Apart from the bias: their sum is a constant of a gigabyte in a large network.
        logits = logits if mask is None else (logits.unflatten(0, (-1, int(mask.shape[0]))) + mask).flatten(0, 1)
        y = torch.softmax(logits, -1) @ v
    else:
        if bias is not None and mask is not None:
            bias = bias + mask.repeat(int(q.shape[0]) // int(mask.shape[0]), 1, 1, 1)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    batch, heads, pixels, width = map(int, y.shape)
    return y.permute(0, 2, 1, 3).reshape(batch, pixels, heads * width)
