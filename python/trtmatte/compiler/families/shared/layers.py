"""Building blocks that several families share. Bilinear means PyTorch's: pixel centres at halves, no antialiasing."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.errors import FrameError

_is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
) -> list[nn.Module]:
    """A convolution that keeps the size (but for its stride) and a normalisation."""
    padding = (kernel - 1) // 2 * dilation
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=eps)]


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, *, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, dilation=dilation), nn.ReLU())


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """`x`, bilinear, in the height and width of `like`."""
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def scale(x: Tensor, factor: float) -> Tensor:
    """`x`, bilinear, in `floor(size * factor)`, read at steps of exactly `1 / factor`."""
    return functional.interpolate(
        x, scale_factor=factor, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )


def tracing() -> bool:
    """Report if an exporter traces the network. Sizes are tensors then and cannot be checked."""
    return _is_tracing()


def require_multiple(x: Tensor, divisor: int, who: str) -> None:
    """Refuse a picture whose sides `divisor` does not divide."""
    if tracing():
        return
    height, width = x.shape[-2:]
    if height % divisor or width % divisor:
        raise FrameError(
            f"{who} got a picture of {width}x{height}; it needs sides that are multiples of {divisor}: pad or resize it"
        )


class Entry(nn.Module):
    """One method of a network as a module of its own, for exporters: `Entry(network, "encode")`."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method
        self.train(network.training)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs: Tensor | tuple[Tensor, ...] = getattr(self.network, self.method)(*inputs)
        return outputs
