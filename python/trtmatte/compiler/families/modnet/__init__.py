"""MODNet: one picture in, one alpha out."""

from typing import Final

from trtmatte.compiler.families.modnet.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Model

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/ZHKKKe/MODNet"


def _model(name: str, size: int | None, sha256: str, advice: str) -> Model:
    file = f"{name.replace('-', '_')}_portrait_matting.ckpt"
    return Model(name, NAME, file, "Apache-2.0", _PAGE, size, sha256, category="people", advice=advice)


FAMILY: Final = Family(
    name=NAME,
    title="MODNet",
    package=__name__,
    rank=30,
    settings=Settings,
    follows_frame=True,
    keep_fp32=KeepFp32(offsets=32, sums=1024),
    variants={"modnet": Variant("MODNet")},
    models=(
        _model(
            "modnet-photographic",
            26_255_603,
            "7c22235f0925deba15d4d63e53afcb654c47055bbcd98f56e393ab2584007ed8",
            "single portraits",
        ),
        _model(
            "modnet-webcam",
            None,
            "913b82b66558db39b6286c150f809017d7528c872b156eb14333c9c6cb52108b",
            "portraits from a webcam",
        ),
    ),
)
