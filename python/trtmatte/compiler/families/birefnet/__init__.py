"""BiRefNet: one picture in, one alpha out."""

from typing import Final

from trtmatte.compiler.families.birefnet.spec import NAME, Settings
from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.families.shared.published import of_rembg
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Model

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/ZhengPeng7/BiRefNet"
_BACKBONES: Final = ("swin_t", "swin_l", "pvt_b0", "pvt_b1", "pvt_b2", "pvt_b5")


def _model(name: str, file: str, md5: str, advice: str, *, category: str = "things") -> Model:
    return Model(f"{NAME}-{name}", NAME, file, "MIT", _PAGE, None, None, (of_rembg(file),), category, advice, md5=md5)


FAMILY: Final = Family(
    name=NAME,
    title="BiRefNet",
    package=__name__,
    rank=35,
    settings=Settings,
    keep_fp32=KeepFp32(offsets=32, sums=64),
    variants={f"birefnet_{each}": Variant("BiRefNet", {"backbone": each}) for each in _BACKBONES},
    models=(
        _model(
            "general",
            "BiRefNet-general-epoch_244.onnx",
            "7a35a0141cbbc80de11d9c9a28f52697",
            "the most exact cut-outs of anything; slow without a GPU",
        ),
        _model(
            "general-lite",
            "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
            "4fab47adc4ff364be1713e97b7e66334",
            "exact cut-outs of anything in a third of the time of birefnet-general",
        ),
        _model(
            "portrait",
            "BiRefNet-portrait-epoch_150.onnx",
            "c3a64a6abf20250d090cd055f12a3b67",
            "portraits, with hair",
            category="people",
        ),
        _model(
            "dis",
            "BiRefNet-DIS-epoch_590.onnx",
            "2d4d44102b446f33a4ebb2e56c051f2b",
            "objects with fine structures, such as fences and bicycles",
        ),
        _model(
            "hrsod",
            "BiRefNet-HRSOD_DHU-epoch_115.onnx",
            "c017ade5de8a50ff0fd74d790d268dda",
            "the salient object of a large picture",
        ),
        _model(
            "cod",
            "BiRefNet-COD-epoch_125.onnx",
            "f6d0d21ca89d287f17e7afe9f5fd3b45",
            "camouflaged objects: animals that look like what is around them",
        ),
        _model(
            "massive",
            "BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420.onnx",
            "33e726a2136a3d59eb0fdf613e31e3e9",
            "as birefnet-dis, trained on all of its pictures",
        ),
        Model(
            "rmbg-2.0",
            NAME,
            "bria-rmbg-2.0.onnx",
            "CC-BY-NC-4.0",
            "https://huggingface.co/briaai/RMBG-2.0",
            sha256="5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958",
            sources=(of_rembg("bria-rmbg-2.0.onnx"),),
            advice="cut-outs of products and people for shops, of the newest version",
            commercial=False,
            also=("bria-rmbg",),
        ),
    ),
)
