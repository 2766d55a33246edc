"""BiRefNet: one picture in, one alpha out."""

from typing import Final

from trtmatte.compiler.families.birefnet.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.graph.keep_fp32 import KeepFp32

__all__ = ["FAMILY"]

_BACKBONES: Final = ("swin_t", "swin_l", "pvt_b0", "pvt_b1", "pvt_b2", "pvt_b5")

FAMILY: Final = Family(
    name=NAME,
    title="BiRefNet",
    package=__name__,
    rank=35,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32, sums=1024),
    variants={f"birefnet_{each}": Variant("BiRefNet", {"backbone": each}) for each in _BACKBONES},
)
