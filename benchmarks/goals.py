"""The goals as data. The report shows each beside its measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Goal:
    """`contender` takes at most 1/`least` of the time of `than`, or at most `most` times as long, on `subject`.

    `than` is another contender of the same rounds, or another subject of the same run.
    """

    device: str
    subject: str
    question: str
    contender: str
    than: str
    least: float | None = None
    most: float | None = None


_LOOP: Final = "onnxruntime-loop"
_4K, _HD, _BGMV2 = "rvm-mobilenetv3-4k", "rvm-mobilenetv3-1080p", "bgmv2-mobilenetv2-hd"
_BIREFNET: Final = "birefnet-lite-1024"

GOALS: Final = (
    Goal("cpu", _HD, "frame", "trtmatte", _LOOP, least=1.9),
    Goal("cpu", _4K, "frame", "trtmatte", _LOOP, least=4.5),
    Goal("cpu", _HD, "frame", "trtmatte-onnxruntime", _LOOP, least=1.6),
    Goal("cpu", _4K, "frame", "trtmatte-onnxruntime", _LOOP, least=3.8),
    Goal("cpu", _HD, "frame", "trtmatte", "network", most=1.12),
    Goal("cpu", _4K, "frame", "trtmatte", "network", most=1.35),
    Goal("cpu", _HD, "frame", "trtmatte", "torch-eager", least=2.3),
    Goal("cpu", _4K, "frame", "trtmatte", "torch-eager", least=7),
    Goal("cpu", _BGMV2, "frame", "trtmatte", "torch-eager", least=2),
    Goal("cpu", _BIREFNET, "frame", "trtmatte", "torch-eager", least=1.5),
    Goal("cpu", _BIREFNET, "frame", "trtmatte", _LOOP, least=1.3),
    Goal("cuda", _4K, "frame", "trtmatte", "torch-eager", least=8),
    Goal("cuda", _4K, "frame", "trtmatte", "torch-compile", least=3),
    Goal("cuda", _HD, "tensor", "trtmatte", "torch-eager", least=3),
    Goal("cuda", _4K, "device", "trtmatte", _HD, most=1.3),
)

COPY_SHARE: Final = {"cuda": 0.75}
"""Of a copy's speed, which ops that read or write a whole frame reach."""

WHOLE_FRAME: Final = ("frame_sample[4K-size1-area]", "guided_upsample[4K", "matte_upsample", "patch_scatter")
"""How the names of such ops' benchmarks begin."""
