"""Any network that makes one alpha of one picture. It is used only when a user asks for it by name."""

from typing import Final

from trtmatte.compiler.families.generic.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family
from trtmatte.compiler.graph.keep_fp32 import KeepFp32

__all__ = ["FAMILY"]

FAMILY: Final = Family(
    name=NAME,
    title="one picture in, one alpha out",
    package=__name__,
    rank=90,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32, sums=1024),
    is_recognised=False,
)
