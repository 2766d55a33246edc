"""ForegroundEstimate: smooth colours of the foreground and of the old background, on a grid of 128 by 128 cells.

A pixel is `x = alpha F + (1 - alpha) B`. The means of alpha, alpha (1 - alpha), x and alpha x over a cell determine the
F and B that fit its pixels best. They are found from the whole frame down to the smallest cells, each time near those
of the larger cell.
"""

from typing import Final

from onnx import TensorProto

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import FRAME, alpha_of, clamp, extent, resize, unpack

__all__ = ["OP"]

_LEVELS: Final = 8  # from 128 x 128 cells down to one
_PULL: Final = 0.03  # the weight of the larger cell's colours


_ROWS: Final = """
    line = Range (#0, #256, #1)
    line_twice = Mul (line, #2)
    line_odd = Add (line_twice, #1)
    line_far = Mul (line_odd, x_height)
    line_row = Div (line_far, #512)
    """
"""`line_row[256]`: the rows of the frame that are read, two for each cell."""

_COLUMNS: Final = """
    cell = Range (#0, #128, #1)
    next_cell = Add (cell, #1)
    begin_far = Mul (cell, x_width)
    end_far = Mul (next_cell, x_width)
    begin = Div (begin_far, #128)
    end_exact = Div (end_far, #128)
    after_begin = Add (begin, #1)
    end = Max (end_exact, after_begin)
    begin_column = Unsqueeze (begin, #[1])
    end_column = Unsqueeze (end, #[1])
    column = Range (#0, x_width, #1)
    reached = GreaterOrEqual (column, begin_column)
    not_passed = Less (column, end_column)
    within = And (reached, not_passed)
    members = Cast <to = 1> (within)
    count = ReduceSum (members, #[1])
    shares = Div (members, count)
    """
"""`shares[128, width]`: the weight of each column in the mean of each cell. Every cell has one column at least."""


def _halve(level: int) -> str:
    """The means of the cells of a level, from those of the level before."""
    return f"""
    means_{level} = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (means_{level - 1})
    """


def _solve(level: int, foreground: str, background: str) -> str:
    """The colours of a level's cells, `F_<level>` and `B_<level>`, near these."""
    text = f"""
    alpha_@, fb_@, colour_@, alpha_colour_@ = Split <axis = 1> (means_@, #[1,1,3,3])
    squared_@ = Sub (alpha_@, fb_@)
    ff_@ = Add (squared_@, #{_PULL})
    rest_@ = Sub (#1.0, alpha_@)
    rest_squared_@ = Sub (rest_@, fb_@)
    bb_@ = Add (rest_squared_@, #{_PULL})
    product_@ = Mul (ff_@, bb_@)
    crossed_@ = Mul (fb_@, fb_@)
    determinant_@ = Sub (product_@, crossed_@)
    pull_F_@ = Mul ({foreground}, #{_PULL})
    pull_B_@ = Mul ({background}, #{_PULL})
    f_@ = Add (alpha_colour_@, pull_F_@)
    opposite_colour_@ = Sub (colour_@, alpha_colour_@)
    b_@ = Add (opposite_colour_@, pull_B_@)
    bb_f_@ = Mul (bb_@, f_@)
    fb_b_@ = Mul (fb_@, b_@)
    F_numerator_@ = Sub (bb_f_@, fb_b_@)
    F_free_@ = Div (F_numerator_@, determinant_@)
    F_@ = Clip (F_free_@, #0.0, #1.0)
    ff_b_@ = Mul (ff_@, b_@)
    fb_f_@ = Mul (fb_@, f_@)
    B_numerator_@ = Sub (ff_b_@, fb_f_@)
    B_free_@ = Div (B_numerator_@, determinant_@)
    B_@ = Clip (B_free_@, #0.0, #1.0)
    """
    return text.replace("_@", f"_{level}")


def _colours() -> str:
    """From one cell, whose colours begin as the mean of the frame, to the finest level."""
    last = _LEVELS - 1
    text = "".join(_halve(level) for level in range(1, _LEVELS))
    text += f"""
    mean_colour = Slice (means_{last}, #[2], #[5], #[1])
    """ + _solve(last, "mean_colour", "mean_colour")
    for level in range(last - 1, -1, -1):
        text += f"""
    size_{level} = Shape <start = 2> (means_{level})
    """
        text += resize(f"F_{level + 1}", f"size_{level}", f"F_near_{level}")
        text += resize(f"B_{level + 1}", f"size_{level}", f"B_near_{level}")
        text += _solve(level, f"F_near_{level}", f"B_near_{level}")
    return text


OP: Final = Op(
    inputs=("frame", "alpha"),
    outputs={"colours": ("type", 4)},
    attributes={"type": int(TensorProto.FLOAT), **FRAME},
    body=unpack("frame", "x_free")
    + clamp("x_free", "x")
    + extent("x")
    + resize("alpha", "x_size", "full_maps")
    + alpha_of("full_maps", "x", "full_alpha")
    + """
    rest = Sub (#1.0, full_alpha)
    mixed = Mul (full_alpha, rest)
    alpha_colour = Mul (full_alpha, x)
    pixels = Concat <axis = 1> (full_alpha, mixed, x, alpha_colour)
    """
    + _ROWS
    + _COLUMNS
    + """
    lines = Gather <axis = 2> (pixels, line_row)
    shares_right = Transpose <perm = [1, 0]> (shares)
    narrow = MatMul (lines, shares_right)
    means_0 = AveragePool <kernel_shape = [2, 1], strides = [2, 1]> (narrow)
    """
    + _colours()
    + """
    both = Concat <axis = 1> (F_0, B_0)
    colours = Cast <to: int = @type> (both)
    """,
)
