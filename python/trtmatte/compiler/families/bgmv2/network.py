"""BackgroundMattingV2's networks: a base network over a small picture, and a refiner of the patches that need it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trtmatte.compiler.families.shared import mobilenetv2
from trtmatte.compiler.families.shared.layers import conv_bn, conv_bn_relu, require_multiple, resize_like, tracing
from trtmatte.compiler.families.shared.resnet import ResNet
from trtmatte.errors import FrameError, SettingError

PATCH = 4  # pixels of the frame along a patch's side
REFINE_MODES = ("sampling", "thresholding", "full")
Places = tuple[Tensor, Tensor, Tensor]
_HIDDEN = 32  # channels that the base network hands to the refiner


class MobileNetV2(nn.Module):
    """picture → features at 1/2 (16 channels), 1/4 (24), 1/8 (32) and 1/16 (320)."""

    channels = (16, 24, 32, 320)

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.features = nn.ModuleList(mobilenetv2.features(inputs, flat=False, dilated=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        levels: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in [1, 3, 6, 17]:
                levels.append(x)
        half, quarter, eighth, sixteenth = levels
        return half, quarter, eighth, sixteenth


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: join five views of the deepest features, from one pixel to the whole picture."""

    def __init__(self, inputs: int, outputs: int = 256) -> None:
        super().__init__()
        whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_bn(inputs, outputs), nn.ReLU())
        dilated = [conv_bn_relu(inputs, outputs, 3, dilation=rate) for rate in (3, 6, 9)]
        self.convs = nn.ModuleList([conv_bn_relu(inputs, outputs), *dilated, whole])
        self.project = conv_bn_relu(5 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        views = [conv(x) for conv in self.convs]
        views[-1] = resize_like(views[-1], x)
        y: Tensor = self.project(torch.cat(views, 1))
        return y


class Decoder(nn.Module):
    """Enlarge the features to the picture's size and join those of each level."""

    def __init__(self, deepest: int, skips: tuple[int, int, int, int], outputs: int) -> None:
        super().__init__()
        eighth, quarter, half, full = skips
        self.conv1, self.bn1 = conv_bn(deepest + eighth, 128, 3)
        self.conv2, self.bn2 = conv_bn(128 + quarter, 64, 3)
        self.conv3, self.bn3 = conv_bn(64 + half, 48, 3)
        self.conv4 = nn.Conv2d(48 + full, outputs, 3, padding=1)

    def forward(self, x: Tensor, eighth: Tensor, quarter: Tensor, half: Tensor, full: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(_join(x, eighth))))
        x = functional.relu(self.bn2(self.conv2(_join(x, quarter))))
        x = functional.relu(self.bn3(self.conv3(_join(x, half))))
        y: Tensor = self.conv4(_join(x, full))
        return y


def _join(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([resize_like(x, skip), skip], 1)


class MattingBase(nn.Module):
    """`pha, fgr, err, hid = network(src, bgr)` at the picture's own size, which may be any."""

    def __init__(self, backbone: str = "resnet50") -> None:
        super().__init__()
        self.maps = [1, 3, 1, _HIDDEN]
        self.backbone = MobileNetV2(6) if backbone == "mobilenetv2" else ResNet(backbone, 6)
        half, quarter, eighth, deepest = self.backbone.channels
        self.aspp = ASPP(deepest)
        self.decoder = Decoder(256, (eighth, quarter, half, 6), sum(self.maps))

    def forward(self, src: Tensor, bgr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pha, residual, err, hid = self.coarse(src, bgr)
        return pha, (residual + src).clamp(0, 1), err, hid

    def coarse(self, src_sm: Tensor, bgr_sm: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """→ `pha` (clamped), the foreground residual (raw), `err` (clamped) and `hid`, all of the inputs' size.

        The first network stage of a program: hid, pha and the residual feed PatchCrop (in this order) and PatchScatter,
        err feeds PatchSelect.
        """
        pair = torch.cat([src_sm, bgr_sm], 1)
        half, quarter, eighth, deepest = self.backbone(pair)
        maps = self.decoder(self.aspp(deepest), eighth, quarter, half, pair)
        pha, residual, err, hid = torch.split(maps, self.maps, dim=1)
        return pha.clamp(0, 1), residual, err.clamp(0, 1), functional.relu(hid)


class Refiner(nn.Module):
    """Two convolutions at half resolution and two at full. They do not pad: a patch comes with its surroundings."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_HIDDEN + 10, 24, kernel_size, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(24, 16, kernel_size, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16 + 6, 12, kernel_size, bias=False)
        self.bn3 = nn.BatchNorm2d(12)
        self.conv4 = nn.Conv2d(12, 4, kernel_size)
        self.half_halo, self.full_halo = (3, 2) if kernel_size == 3 else (0, 0)

    def forward(self, half: Tensor, full: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(half)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = torch.cat([functional.interpolate(x, size=full.shape[2:]), full], 1)
        x = functional.relu(self.bn3(self.conv3(x)))
        y: Tensor = self.conv4(x)
        return y


class MattingRefine(MattingBase):
    """`pha, fgr, pha_sm, fgr_sm, err_sm, ref_sm = network(src, bgr)`; sides must be multiples of 4.

    The settings are attributes and may be changed at any time; `refine_kernel_size` belongs to the weights.
    A compiler takes `coarse` and `refine_patches` instead of the whole.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        backbone_scale: float = 0.25,
        refine_mode: str = "sampling",
        refine_sample_pixels: int = 80_000,
        refine_threshold: float = 0.1,
        refine_kernel_size: int = 3,
        prevent_oversampling: bool = True,
    ) -> None:
        super().__init__(backbone)
        if refine_kernel_size not in (1, 3):
            raise SettingError(f"refine_kernel_size={refine_kernel_size!r} is not known; choose 3 or 1")
        self.backbone_scale = backbone_scale
        self.refine_mode = refine_mode
        self.refine_sample_pixels = refine_sample_pixels
        self.refine_threshold = refine_threshold
        self.prevent_oversampling = prevent_oversampling
        self.refiner = Refiner(refine_kernel_size)
        self.patch = PATCH

    def forward(self, src: Tensor, bgr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            self._check(src, bgr)
        src_sm, bgr_sm = self._shrink(src), self._shrink(bgr)
        pha_sm, residual_sm, err_sm, hid_sm = self.coarse(src_sm, bgr_sm)
        ref_sm = self.select(err_sm, src.shape[2] // self.patch, src.shape[3] // self.patch)
        matte = self._refine(torch.cat([hid_sm, pha_sm, residual_sm], 1), torch.cat([src, bgr], 1), ref_sm)
        pha, residual = torch.split(matte, [1, 3], dim=1)
        fgr_sm = (residual_sm + src_sm).clamp(0, 1)
        return pha.clamp(0, 1), (residual + src).clamp(0, 1), pha_sm, fgr_sm, err_sm, ref_sm

    def select(self, err_sm: Tensor, rows: int, columns: int) -> Tensor:
        """Select the patches of the grid to refine (1). Of equal errors, the first in row-major order are selected."""
        if self.refine_mode == "full":
            return err_sm.new_ones(err_sm.shape[0], 1, rows, columns)
        err = functional.interpolate(err_sm, size=(rows, columns), mode="bilinear", align_corners=False)
        if self.refine_mode == "thresholding":
            return (err > self.refine_threshold).to(err.dtype)
        err = err.flatten(1)
        ref = torch.zeros_like(err).scatter(
            1, _largest(err, self.refine_sample_pixels // (self.patch * self.patch)), 1.0
        )
        if self.prevent_oversampling:
            ref = ref * (err > 0)
        return ref.reshape(-1, 1, rows, columns)

    def refine_patches(self, half: Tensor, full: Tensor) -> Tensor:
        """→ `[K,4,4,4]`: alpha and the foreground residual of each patch, not clamped.

        The second network stage of a program. `half[K,42,8,8]` and `full[K,6,8,8]` are what PatchCrop cuts
        with kernel 3, `[K,42,2,2]` and `[K,6,4,4]` with kernel 1.
        """
        patches: Tensor = self.refiner(half, full)
        return patches

    def _check(self, src: Tensor, bgr: Tensor) -> None:
        if self.refine_mode not in REFINE_MODES:
            raise SettingError(
                f"refine_mode={self.refine_mode!r} is not known; choose one of {', '.join(REFINE_MODES)}"
            )
        if not 0 < self.backbone_scale <= 0.5:
            raise SettingError(f"backbone_scale={self.backbone_scale!r} is out of range; choose one above 0, up to 0.5")
        if not tracing() and src.shape != bgr.shape:
            raise FrameError(f"src is {tuple(src.shape)} and bgr is {tuple(bgr.shape)}; resize one to the other's size")
        require_multiple(src, PATCH, "BackgroundMattingV2's refiner")

    def _shrink(self, x: Tensor) -> Tensor:
        return functional.interpolate(
            x, scale_factor=self.backbone_scale, mode="bilinear", align_corners=False, recompute_scale_factor=True
        )

    def _refine(self, maps: Tensor, pair: Tensor, ref: Tensor) -> Tensor:
        """The matte in full resolution; `maps` are hid, pha and the residual of the small picture."""
        size = [pair.shape[2] // 2, pair.shape[3] // 2]
        half = torch.cat(
            [functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in [maps, pair]], 1
        )
        half_halo, full_halo = self.refiner.half_halo, self.refiner.full_halo
        if self.refine_mode == "full":
            return self.refine_patches(_pad(half, half_halo), _pad(pair, full_halo))
        image, row, column = [index.view(-1, 1, 1) for index in ref.squeeze(1).nonzero().unbind(1)]
        where = (image, row, column)
        patches = self.refine_patches(_crop(half, where, 2, half_halo), _crop(pair, where, self.patch, full_halo))
        return _replace(resize_like(maps[:, -4:], pair), where, patches)


def settings_of(network: nn.Module) -> dict[str, Any]:
    """The settings of a refining network: ours holds them itself, the original's refiner most of them."""
    refiner = getattr(network, "refiner", None)
    if refiner is None:
        return {}
    found = {"backbone_scale": getattr(network, "backbone_scale", None)}
    for name in ("refine_mode", "refine_sample_pixels", "refine_threshold", "prevent_oversampling"):
        found[name] = getattr(network, name, getattr(refiner, name.removeprefix("refine_"), None))
    return {name: value for name, value in found.items() if value is not None}


def _largest(x: Tensor, count: int) -> Tensor:
    """The positions of the `count` largest values of each row; of equal values, the first."""
    if tracing():  # exporters know topk, and the ONNX runtime's takes the first among equals too
        return x.topk(min(count, x.shape[1]), dim=1).indices
    return x.argsort(dim=1, descending=True, stable=True)[:, :count]


def _pad(x: Tensor, halo: int) -> Tensor:
    return functional.pad(x, [halo] * 4)


def _crop(maps: Tensor, where: Places, stride: int, halo: int) -> Tensor:
    """The squares of `maps` that the patches `where` (image, row, column) cover, and `halo` pixels around each."""
    image, row, column = where
    span = torch.arange(stride + 2 * halo, device=maps.device)
    pixels = _pad(maps, halo).permute(0, 2, 3, 1)
    return pixels[image, row * stride + span.view(-1, 1), column * stride + span].permute(0, 3, 1, 2)


def _replace(canvas: Tensor, where: Places, patches: Tensor, side: int = PATCH) -> Tensor:
    batch, channels, height, width = canvas.shape
    grid = canvas.reshape(batch, channels, height // side, side, width // side, side).permute(0, 2, 4, 1, 3, 5)
    places: list[Tensor | None] = [index.flatten() for index in where]
    return grid.index_put(places, patches).permute(0, 3, 1, 4, 2, 5).reshape(canvas.shape)
