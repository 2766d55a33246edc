"""The mode full of BackgroundMattingV2: the refiner sees the whole frame, as one picture.

FrameSample twice, of every pixel → network → GuidedUpsample with slopes of zero, which adds the residual to the frame.

To cut a whole frame into patches would be wasteful: the windows of neighbouring patches overlap, so each pixel would be
cut out four times and convolved up to nine times. Here alone a network sees full frames, those of the size that the
engine was built for. A frame of another size is resized to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from trtmatte.compiler.families.bgmv2.spec import PATCH
from trtmatte.compiler.graph.onnx_graph import Graph

__all__ = ["add_ref", "add_shrink", "add_surroundings"]

Size = tuple[int, int]

_BILINEAR: Final = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
_HALOS: Final[Mapping[int, Mapping[str, int]]] = {3: {"half": 3, "full": 2}, 1: {"half": 0, "full": 0}}


def add_shrink(graph: Graph, picture: str, output: str, batch: int, small: Size) -> None:
    """Add the resize from a whole picture to the small one that the base network sees."""
    _resize(graph, picture, output, (batch, 3), small)


def add_surroundings(graph: Graph, pictures: tuple[str, str], batch: int, size: Size, kernel: int) -> None:
    """Add what makes `half` and `full`, which the refiner reads, of `maps` and the whole pictures.

    Its convolutions do not pad: the frame gets a border of zeros.
    """
    half = (size[0] // 2, size[1] // 2)
    graph.add("Concat", pictures, "pair", axis=1)
    halves = [
        _resize(graph, name, graph.fresh("half"), (batch, channels), half)
        for name, channels in (("maps", 36), ("pair", 6))
    ]
    for name, inner in (("half", graph.add("Concat", halves, axis=1)), ("full", "pair")):
        halo = _HALOS[kernel][name]
        border = graph.add_constant(np.array([0, 0, halo, halo] * 2, np.int64), "border")
        graph.add("Pad", [inner, border], name)


def add_ref(graph: Graph, batch: int, size: Size) -> None:
    """Add `ref_sm`, which has a 1 for each patch: no error is below -1."""
    err = _resize(graph, "err_sm", graph.fresh("err"), (batch, 1), (size[0] // PATCH, size[1] // PATCH))
    above = graph.add("Greater", [err, graph.add_constant(np.array(-1, np.float32), "threshold")])
    graph.add("Cast", [above], "ref_sm", to=1)


def _resize(graph: Graph, name: str, output: str, front: tuple[int, int], size: Size) -> str:
    shape = graph.add_constant(np.array([*front, size[1], size[0]], np.int64), "size")
    return graph.add("Resize", [name, "", "", shape], output, **_BILINEAR)
