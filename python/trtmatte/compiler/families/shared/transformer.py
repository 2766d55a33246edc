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


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled attention, heads joined again: [B, pixels, C]. `bias` is added to the logits."""
    if torch.onnx.is_in_onnx_export():  # which would scale both q and k
        logits = (q * int(q.shape[3]) ** -0.5) @ k.transpose(2, 3)
        logits = logits if bias is None else logits + bias
        y = torch.softmax(logits, -1) @ v
    else:
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    batch, heads, pixels, width = map(int, y.shape)
    return y.permute(0, 2, 1, 3).reshape(batch, pixels, heads * width)
