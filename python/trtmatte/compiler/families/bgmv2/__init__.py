"""BackgroundMattingV2 and its descendant matte: a base network and a refiner of patches."""

from collections.abc import Iterator
from typing import Final

from trtmatte.compiler.families.bgmv2.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Model

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/PeterL1n/BackgroundMattingV2"
_BACKBONES: Final = ("mobilenetv2", "resnet50", "resnet101")
_ADVICE: Final = {
    "mobilenetv2": "a fixed camera and a picture of the empty scene (the plate); the quickest",
    "resnet50": "a fixed camera and a plate; the finest hair, any subject",
    "resnet101": "a fixed camera and a plate; slower than resnet50, hardly better",
}
_KERNELS: Final[tuple[dict[str, int], ...]] = ({}, {"refine_kernel_size": 1})


def _variants() -> Iterator[tuple[str, Variant]]:
    """The base and the refining networks. Anuj040/matte trains the same ones, with the ResNets only."""
    for prefix, backbones in (("bgmv2", _BACKBONES), ("matte", _BACKBONES[1:])):
        recognised = prefix == "bgmv2"
        for backbone in backbones:
            arguments = {"backbone": backbone}
            yield f"{prefix}_base_{backbone}", Variant("MattingBase", arguments, is_recognised=recognised)
            yield f"{prefix}_refine_{backbone}", Variant("MattingRefine", arguments, _KERNELS, recognised)


FAMILY: Final = Family(
    name=NAME,
    title="BackgroundMattingV2",
    package=__name__,
    rank=20,
    settings=Settings,
    follows_frame=True,
    keep_fp32=KeepFp32(offsets=32, sums=4096),
    variants=dict(_variants()),
    models=tuple(
        Model(f"bgmv2-{name}", NAME, f"pytorch_{name}.pth", "MIT", _PAGE, category="people", advice=advice)
        for name, advice in _ADVICE.items()
    ),
)
