"""The preparation of pictures and alphas that rembg has, by Pillow's own resize."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from tests.ops.specification import resized_by_pillow


def prepared(frame, size, divide=True):
    """uint8 [B,3,H,W] → what the network sees, by Pillow's own resize."""
    small = [resized_by_pillow(np.ascontiguousarray(each.transpose(1, 2, 0)), size[::-1], "lanczos") for each in frame]
    x = torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    if divide:
        x = x / x.amax((1, 2, 3), keepdim=True)
    return (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def finished(alpha, size, stretch=True):
    """The network's result → alpha in the frame's size."""
    alpha = torch.as_tensor(alpha)
    if stretch:
        low, high = alpha.amin((1, 2, 3), keepdim=True), alpha.amax((1, 2, 3), keepdim=True)
        alpha = ((alpha - low) / (high - low) * 255).floor() / 255
    return np.stack([enlarged(each[0].numpy(), size) for each in alpha])[:, None]


def enlarged(alpha, size):
    """By Pillow, which clamps bytes after either pass, but not floats."""
    wide = np.asarray(Image.fromarray(alpha).resize((size[0], alpha.shape[0]), Image.Resampling.LANCZOS)).clip(0, 1)
    return np.asarray(Image.fromarray(wide).resize(size, Image.Resampling.LANCZOS)).clip(0, 1)
