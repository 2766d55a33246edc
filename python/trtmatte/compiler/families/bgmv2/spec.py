"""The settings of BackgroundMattingV2, and what they and the frame's size determine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trtmatte.compiler.families.flags import flag
from trtmatte.errors import SettingError

NAME: Final = "bgmv2"
PATCH: Final = 4  # pixels of the frame along a patch's side
HIDDEN: Final = 32
MAPS: Final = (1, 3, 1, HIDDEN)  # channels of the base network's output: alpha, residual, error, hidden
MODES: Final = ("sampling", "thresholding", "full")
TYPES: Final = ("mattingrefine", "mattingbase")


@dataclass(frozen=True)
class Settings:
    """None stands for the ONNX file's own value, and for a checkpoint for the original's default.

    `refine_kernel_size` belongs to the weights: it is only checked. A base network runs at `backbone_scale` 1 by
    default. `model_type` "mattingbase" takes the base network alone out of a file that has a refiner too. `hidden`
    makes its hidden maps an output; they are large.
    """

    backbone_scale: float | None = flag(
        None,
        "size of the base network's picture, relative to the frame (default: 0.25)",
        kind=float,
        metavar="R",
        aliases=("--model-backbone-scale",),
    )
    refine_mode: str | None = flag(None, "sampling, thresholding or full (default: sampling)", metavar="M")
    refine_sample_pixels: int | None = flag(
        None,
        "number of pixels to refine in the mode sampling (default: 80000)",
        kind=int,
        metavar="N",
        aliases=("--model-refine-sample-pixels",),
    )
    refine_threshold: float | None = flag(
        None,
        "error above which the mode thresholding refines (default: 0.1)",
        kind=float,
        metavar="T",
        aliases=("--model-refine-threshold",),
    )
    refine_kernel_size: int | None = flag(
        None,
        "kernel size of the refiner; it must be that of the model",
        kind=int,
        choices=(1, 3),
        aliases=("--model-refine-kernel-size",),
    )
    prevent_oversampling: bool | None = flag(None, "leave out patches without error, or keep them", kind=bool)
    model_type: str | None = flag(
        None,
        "mattingbase runs the base network alone, at the frame's size (default: with the file's refiner)",
        choices=TYPES,
    )
    hidden: bool = False

    def __post_init__(self) -> None:
        if self.backbone_scale is not None and not 0 < self.backbone_scale <= 1:
            raise SettingError(f"backbone_scale is {self.backbone_scale!r}; expected a number above 0, up to 1")
        if self.refine_mode is not None and self.refine_mode not in MODES:
            raise SettingError(f"refine_mode is {self.refine_mode!r}; expected {', '.join(MODES)}")
        if self.model_type not in (None, *TYPES):
            raise SettingError(f"model_type is {self.model_type!r}; expected {', '.join(TYPES)}")
        if self.refine_sample_pixels is not None and self.refine_sample_pixels < PATCH**2:
            raise SettingError(
                f"refine_sample_pixels is {self.refine_sample_pixels!r}; expected at least the {PATCH**2} of one patch"
            )


@dataclass(frozen=True)
class Refinement:
    """The selection of patches to refine, and the refiner's kernel size."""

    kernel: int
    mode: str = "sampling"
    sample_pixels: int = 80_000
    threshold: float = 0.1
    prevent_oversampling: bool = True

    def selection(self) -> Mapping[str, int | float]:
        """The attributes of PatchSelect. The full mode is a threshold below all errors."""
        if self.mode == "sampling":
            return {
                "mode": 0,
                "k": self.sample_pixels // PATCH**2,
                "prevent_oversampling": int(self.prevent_oversampling),
            }
        return {"mode": 1, "threshold": -1.0 if self.mode == "full" else self.threshold}


def refinement(found: Refinement, settings: Settings) -> Refinement:
    """The file's refinement, overridden by the settings."""
    if settings.refine_kernel_size not in (None, found.kernel):
        raise SettingError(
            f"refine_kernel_size is {settings.refine_kernel_size}, but the model's refiner has {found.kernel}; "
            "leave the setting out"
        )
    return Refinement(
        found.kernel,
        found.mode if settings.refine_mode is None else settings.refine_mode,
        found.sample_pixels if settings.refine_sample_pixels is None else settings.refine_sample_pixels,
        found.threshold if settings.refine_threshold is None else settings.refine_threshold,
        found.prevent_oversampling if settings.prevent_oversampling is None else settings.prevent_oversampling,
    )


def refines(has_refiner: bool, settings: Settings) -> bool:
    """Report if the patches are refined: if the file has a refiner and the base network alone is not asked for."""
    if settings.model_type == "mattingrefine" and not has_refiner:
        raise SettingError("model_type is 'mattingrefine', and this file has no refiner; expected 'mattingbase'")
    return has_refiner and settings.model_type != "mattingbase"


def small_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The picture that the base network sees. Its pixels lie `in / out` apart."""
    width, height = (int(side * scale) for side in size)
    if min(width, height) < 1:
        frame = f"{size[0]}x{size[1]}"
        raise SettingError(f"backbone_scale {scale:g} leaves nothing of a frame of {frame}; choose a larger one")
    return width, height
