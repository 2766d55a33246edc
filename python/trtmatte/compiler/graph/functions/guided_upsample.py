"""GuidedUpsample: RVM's refiner, from the small maps A and b to the matte of a frame."""

from typing import Final

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import FRAME, MATTE, SINKS, extent, resize, sinks, unpack

__all__ = ["OP"]

OP: Final = Op(
    inputs=("frame", "A", "b", "background"),
    outputs=SINKS,
    attributes={**FRAME, **MATTE},
    body=unpack("frame", "x")
    + extent("x")
    + resize("A", "x_size", "A_full")
    + resize("b", "x_size", "b_full")
    + """
    gray_sum = ReduceSum (x, #[1])
    gray = Div (gray_sum, #3.0)
    x4 = Concat <axis = 1> (x, gray)
    guided = Mul (A_full, x4)
    y = Add (guided, b_full)
    residual = Slice (y, #[0], #[3], #[1])
    alpha = Slice (y, #[3], #[4], #[1])
    foreground = Add (residual, x)
    """
    + sinks("foreground", "alpha", "x_size"),
)
