"""MatteUpsample: from a small alpha and estimated colours to the matte of a frame.

Colours of one cell stand for none: the foreground then has the frame's own.
"""

from typing import Final

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import (
    FRAME,
    MATTE,
    SINKS,
    alpha_of,
    clamp,
    extent,
    resize,
    sample,
    sinks,
    unpack,
    weights,
)

__all__ = ["OP"]

OP: Final = Op(
    inputs=("frame", "alpha", "colours", "background"),
    outputs=SINKS,
    attributes={"method": 0, **FRAME, **MATTE},
    body=unpack("frame", "x_free")
    + clamp("x_free", "x")
    + extent("x")
    + """
    small = Cast <to = 1> (alpha)
    """
    + extent("small")
    + weights("y", "x_height", "small_height", "small_height", "x_height")
    + weights("x", "x_width", "small_width", "small_width", "x_width")
    + sample("small", "full_maps")
    + alpha_of("full_maps", "x", "full_alpha")
    + resize("colours", "x_size", "full_colours")
    + """
    estimate, old = Split <axis = 1> (full_colours, #[3,3])
    rest = Sub (#1.0, full_alpha)
    rest_estimate = Mul (rest, estimate)
    alpha_old = Mul (full_alpha, old)
    nearer = Sub (rest_estimate, alpha_old)
    rest_nearer = Mul (rest, nearer)
    alpha_x = Mul (full_alpha, x)
    mixed = Add (alpha_x, rest_nearer)
    alpha_squared = Mul (full_alpha, full_alpha)
    rest_squared = Mul (rest, rest)
    squares = Add (alpha_squared, rest_squared)
    clean = Div (mixed, squares)
    cells = Shape <start = 2> (colours)
    most_cells = ReduceMax <keepdims = 0> (cells)
    is_none = Equal (most_cells, #1)
    foreground = Where (is_none, x, clean)
    """
    + sinks("foreground", "full_alpha", "x_size"),
)
