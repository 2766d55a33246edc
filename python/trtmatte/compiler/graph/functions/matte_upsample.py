"""MatteUpsample: from a small alpha to the matte of a frame."""

from typing import Final

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import FRAME, MATTE, SINKS, extent, sample, sinks, unpack, weights

__all__ = ["OP"]

OP: Final = Op(
    inputs=("frame", "alpha", "background"),
    outputs=SINKS,
    attributes={"method": 0, **FRAME, **MATTE},
    body=unpack("frame", "x")
    + extent("x")
    + """
    small = Cast <to = 1> (alpha)
    """
    + extent("small")
    + weights("y", "x_height", "small_height", "small_height", "x_height")
    + weights("x", "x_width", "small_width", "small_width", "x_width")
    + sample("small", "full_alpha")
    + sinks("x", "full_alpha", "x_size"),
)
