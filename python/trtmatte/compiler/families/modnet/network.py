"""MODNet: a low-resolution branch for the semantics, a high-resolution branch for the edges, and their fusion."""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trtmatte.compiler.families.shared import mobilenetv2
from trtmatte.compiler.families.shared.layers import require_multiple, scale
from trtmatte.errors import ModelError

# The backbone stands twice in a state_dict. A file that stores shared tensors once has lost one of the two.
_TWINS: Final = ("backbone.", "lr_branch.backbone.")


class SplitNorm(nn.Module):
    """Batch normalisation of the first half of the channels, instance normalisation of the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = [channels // 2, channels - channels // 2]
        self.bnorm = nn.BatchNorm2d(self.split[0])
        self.inorm = nn.InstanceNorm2d(self.split[1], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, self.split, dim=1)
        return torch.cat([self.bnorm(first), self.inorm(rest)], 1)


class Conv(nn.Module):
    """A convolution with bias, normalised and activated unless it is `bare`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, bare: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.layers = nn.Sequential(conv) if bare else nn.Sequential(conv, SplitNorm(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, squeeze, bias=False), nn.ReLU(), nn.Linear(squeeze, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc(x.mean((2, 3)))
        return x * gate[:, :, None, None]


class MobileNetV2(nn.Module):
    """The layers of a MobileNetV2 under the names that checkpoints have for them."""

    def __init__(self) -> None:
        super().__init__()
        layers = mobilenetv2.features(3, flat=True, dilated=False)
        self.features = nn.ModuleList([*layers, mobilenetv2.conv_bn_relu6(320, 1280)])


class Backbone(nn.Module):
    """picture → features at 1/2 (16 channels), 1/4 (24) and 1/32 (1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.model = MobileNetV2()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels: list[Tensor] = []
        for index, layer in enumerate(self.model.features):
            x = layer(x)
            if index in [1, 3, 18]:
                levels.append(x)
        half, quarter, deepest = levels
        return half, quarter, deepest


class LowResolution(nn.Module):
    """The semantics at 1/8: what is foreground. Checkpoints hold the backbone in here once more."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.se_block = SqueezeExcite(1280, 320)
        self.conv_lr16x = Conv(1280, 96, 5)
        self.conv_lr8x = Conv(96, 32, 5)
        self.conv_lr = Conv(32, 1, 3, stride=2, bare=True)

    def forward(self, deepest: Tensor) -> Tensor:
        x = self.conv_lr16x(scale(self.se_block(deepest), 2.0))
        y: Tensor = self.conv_lr8x(scale(x, 2.0))
        return y

    def semantic(self, lr8x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv_lr(lr8x))


class HighResolution(nn.Module):
    """The detail at 1/2: the edge of the foreground."""

    def __init__(self) -> None:
        super().__init__()
        self.tohr_enc2x = Conv(16, 32, 1)
        self.conv_enc2x = Conv(32 + 3, 32, 3, stride=2)
        self.tohr_enc4x = Conv(24, 32, 1)
        self.conv_enc4x = Conv(64, 64, 3)
        self.conv_hr4x = nn.Sequential(Conv(64 + 32 + 3, 64, 3), Conv(64, 64, 3), Conv(64, 32, 3))
        self.conv_hr2x = nn.Sequential(Conv(64, 64, 3), Conv(64, 32, 3), Conv(32, 32, 3), Conv(32, 32, 3))
        self.conv_hr = nn.Sequential(Conv(32 + 3, 32, 3), Conv(32, 1, 1, bare=True))

    def forward(self, image: Tensor, half: Tensor, quarter: Tensor, lr8x: Tensor) -> Tensor:
        half = self.tohr_enc2x(half)
        x = self.conv_enc2x(torch.cat([scale(image, 0.5), half], 1))
        x = self.conv_enc4x(torch.cat([x, self.tohr_enc4x(quarter)], 1))
        x = self.conv_hr4x(torch.cat([x, scale(lr8x, 2.0), scale(image, 0.25)], 1))
        y: Tensor = self.conv_hr2x(torch.cat([scale(x, 2.0), half], 1))
        return y

    def detail(self, image: Tensor, hr2x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv_hr(torch.cat([scale(hr2x, 2.0), image], 1)))


class Fusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_lr4x = Conv(32, 32, 5)
        self.conv_f2x = Conv(64, 32, 3)
        self.conv_f = nn.Sequential(Conv(32 + 3, 16, 3), Conv(16, 1, 1, bare=True))

    def forward(self, image: Tensor, lr8x: Tensor, hr2x: Tensor) -> Tensor:
        lr4x = self.conv_lr4x(scale(lr8x, 2.0))
        f2x = self.conv_f2x(torch.cat([scale(lr4x, 2.0), hr2x], 1))
        return torch.sigmoid(self.conv_f(torch.cat([scale(f2x, 2.0), image], 1)))


class MODNet(nn.Module):
    """`semantic, detail, matte = network(image, False)`.

    `image` is `[B,3,H,W]`, RGB, -1…1, its sides multiples of 32. With `inference=True` semantic and detail are None.
    A compiler takes `alpha`, the matte alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lr_branch = LowResolution(self.backbone)
        self.hr_branch = HighResolution()
        self.f_branch = Fusion()

    def forward(self, image: Tensor, inference: bool = False) -> tuple[Tensor | None, Tensor | None, Tensor]:
        lr8x, hr2x = self._branches(image)
        matte = self.f_branch(image, lr8x, hr2x)
        if inference:
            return None, None, matte
        return self.lr_branch.semantic(lr8x), self.hr_branch.detail(image, hr2x), matte

    def alpha(self, image: Tensor) -> Tensor:
        """→ the matte `[B,1,H,W]`; the heads of the other two outputs do not run."""
        lr8x, hr2x = self._branches(image)
        matte: Tensor = self.f_branch(image, lr8x, hr2x)
        return matte

    def _branches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            require_multiple(image, 32, "MODNet")
        half, quarter, deepest = self.backbone(image)
        lr8x = self.lr_branch(deepest)
        return lr8x, self.hr_branch(image, half, quarter, lr8x)


def complete_state(state: dict[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """The weights with both copies of the backbone; other families' weights are returned unchanged."""
    first, second = _TWINS
    if not any(key.startswith("lr_branch.") for key in state):
        return state
    for one, other in ((first, second), (second, first)):
        copies = {other + key.removeprefix(one): value for key, value in state.items() if key.startswith(one)}
        state = {**copies, **state}
    for key, value in state.items():
        twin = state[second + key.removeprefix(first)] if key.startswith(first) else value
        if not value.equal(twin):
            raise ModelError(
                f"{path} holds MODNet's backbone twice with different values ({key!r}); "
                "both copies must be the same: pass the state_dict of one undivided model"
            )
    return state
