"""Passages that several function bodies share: reading a frame, sampling, writing the outputs of a matte."""

from __future__ import annotations

import re
from typing import Final

from onnx import TensorProto

from trtmatte.compiler.graph.functions.language import Required, Value
from trtmatte.format.outputs import MATTE_OUTPUTS, OUTPUTS

__all__ = ["FRAME", "MATTE", "SINKS", "alpha_of", "clamp", "extent", "resize", "sample", "sinks", "unpack", "weights"]

FRAME: Final[dict[str, Value | Required]] = {
    "frame_perm": [0, 3, 1, 2],
    "frame_channels": [0, 1, 2],
    "frame_range": 255,
}
MATTE: Final[dict[str, Value | Required]] = {
    "matte_perm": [0, 2, 3, 1],
    "matte_channels": [0, 1, 2],
    "matte_range": 255,
    "matte_type": int(TensorProto.UINT8),
}
SINKS: Final = dict.fromkeys(MATTE_OUTPUTS, ("matte_type", 4))
"""The outputs of an op that writes a matte."""


def unpack(frame: str, x: str) -> str:
    """A frame of any layout as `x[B,3,H,W]`, RGB, 0…1."""
    return f"""
    {x}_float = Cast <to = 1> ({frame})
    {x}_planes = Transpose <perm: ints = @frame_perm> ({x}_float)
    {x}_rgb = Gather <axis = 1> ({x}_planes, @frame_channels)
    {x}_range = Cast <to = 1> (@frame_range)
    {x} = Div ({x}_rgb, {x}_range)
    """


def extent(x: str) -> str:
    """The height and the width of a picture: as scalars and, for Resize, as a vector."""
    return f"""
    {x}_shape = Shape ({x})
    {x}_height = Gather ({x}_shape, #2)
    {x}_width = Gather ({x}_shape, #3)
    {x}_size = Shape <start = 2> ({x})
    """


def resize(small: str, size: str, out: str) -> str:
    """Linear sampling to a size, with pixel centres at halves and borders clamped."""
    return f"""
    {out}_source = Cast <to = 1> ({small})
    {out}_planes = Shape <end = 2> ({small})
    {out}_sizes = Concat <axis = 0> ({out}_planes, {size})
    {out} = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> ({out}_source, , , {out}_sizes)
    """


def weights(axis: str, count: str, length: str, num: str, den: str, *, gaussian: bool = False) -> str:
    """`weights_<axis>[count, length]` of the sampling method `@method`, outputs being `num / den` pixels apart.

    Positions are whole numbers of `1 / (2 * den)` pixels, hence exact: output `i` lies at `(2 i + 1) * num`, pixel `j`
    at `(2 j + 1) * den`. With `linear` an output outside the outermost pixel centres moves onto them.
    """
    text = f"""
    i_@ = Range (#0, {count}, #1)
    i_twice_@ = Mul (i_@, #2)
    i_odd_@ = Add (i_twice_@, #1)
    i_column_@ = Unsqueeze (i_odd_@, #[1])
    center_@ = Mul (i_column_@, {num})
    j_@ = Range (#0, {length}, #1)
    j_twice_@ = Mul (j_@, #2)
    j_odd_@ = Add (j_twice_@, #1)
    pixel_@ = Mul (j_odd_@, {den})
    from_center_@ = Sub (pixel_@, center_@)
    distance_@ = Abs (from_center_@)
    one_pixel_@ = Mul ({den}, #2)
    one_pixel_float_@ = Cast <to = 1> (one_pixel_@)

    past_last_@ = Mul ({length}, one_pixel_@)
    last_@ = Sub (past_last_@, {den})
    not_before_@ = Max (center_@, {den})
    clamped_@ = Min (not_before_@, last_@)
    from_clamped_@ = Sub (pixel_@, clamped_@)
    off_@ = Abs (from_clamped_@)
    off_float_@ = Cast <to = 1> (off_@)
    off_pixels_@ = Div (off_float_@, one_pixel_float_@)
    off_left_@ = Sub (#1.0, off_pixels_@)
    linear_@ = Relu (off_left_@)

    reach_@ = Add ({num}, {den})
    touches_@ = Less (distance_@, reach_@)
    area_@ = Cast <to = 1> (touches_@)
    is_area_@ = Equal (@method, #1)
    chosen_area_@ = Where (is_area_@, area_@, linear_@)

    distance_float_@ = Cast <to = 1> (distance_@)
    wider_@ = Max ({num}, {den})
    support_@ = Mul (wider_@, #2)
    support_float_@ = Cast <to = 1> (support_@)
    far_@ = Div (distance_float_@, support_float_@)
    near_@ = Sub (#1.0, far_@)
    tent_@ = Relu (near_@)
    is_antialias_@ = Equal (@method, #2)
    chosen_antialias_@ = Where (is_antialias_@, tent_@, chosen_area_@)

    third_angle_@ = Mul (far_@, #1.0471975512)
    third_sine_@ = Sin (third_angle_@)
    is_center_@ = Equal (far_@, #0.0)
    third_quotient_@ = Div (third_sine_@, third_angle_@)
    third_sinc_@ = Where (is_center_@, #1.0, third_quotient_@)
    third_sinc_2_@ = Mul (third_sinc_@, third_sinc_@)
    third_sine_2_@ = Mul (third_sine_@, third_sine_@)
    triple_@ = Mul (third_sine_2_@, #1.33333333)
    triple_left_@ = Sub (#1.0, triple_@)
    sincs_@ = Mul (third_sinc_2_@, triple_left_@)
    in_lobes_@ = Less (far_@, #3.0)
    lanczos_@ = Where (in_lobes_@, sincs_@, #0.0)
    is_lanczos_@ = Equal (@method, #4)
    chosen_lanczos_@ = Where (is_lanczos_@, lanczos_@, chosen_antialias_@)

    cube_@ = Mul (far_@, #1.5)
    cube_left_@ = Sub (cube_@, #2.5)
    far_2_@ = Mul (far_@, far_@)
    hill_left_@ = Mul (cube_left_@, far_2_@)
    hill_@ = Add (hill_left_@, #1.0)
    falling_1_@ = Mul (far_@, #-0.5)
    falling_2_@ = Add (falling_1_@, #2.5)
    falling_3_@ = Mul (falling_2_@, far_@)
    falling_4_@ = Sub (falling_3_@, #4.0)
    falling_5_@ = Mul (falling_4_@, far_@)
    falling_@ = Add (falling_5_@, #2.0)
    in_valley_@ = Less (far_@, #2.0)
    valley_@ = Where (in_valley_@, falling_@, #0.0)
    on_hill_@ = Less (far_@, #1.0)
    bicubic_@ = Where (on_hill_@, hill_@, valley_@)
    is_bicubic_@ = Equal (@method, #5)
    chosen_@ = Where (is_bicubic_@, bicubic_@, chosen_lanczos_@)
    """
    if gaussian:
        text += """
    pixels_@ = Div (distance_float_@, one_pixel_float_@)
    sigmas_@ = Div (pixels_@, @sigma)
    squared_@ = Mul (sigmas_@, sigmas_@)
    exponent_@ = Mul (squared_@, #-0.5)
    bell_@ = Exp (exponent_@)
    edge_@ = Exp (#-4.5)
    lowered_@ = Sub (bell_@, edge_@)
    gaussian_@ = Relu (lowered_@)
    is_gaussian_@ = Equal (@method, #3)
    chosen_gaussian_@ = Where (is_gaussian_@, gaussian_@, chosen_@)
    """
    chosen = "chosen_gaussian_@" if gaussian else "chosen_@"
    text += f"""
    total_@ = ReduceSum ({chosen}, #[1])
    weights_@ = Div ({chosen}, total_@)
    """
    return re.sub(r"_@", f"_{axis}", text)


def sample(x: str, out: str, *, steps: int | None = None) -> str:
    """Apply `weights_y` and `weights_x` to a picture, along its rows first.

    With `lanczos` and `bicubic` the result of either pass is clamped to 0…1 and, with `steps`, rounded to that many
    steps, half up. They begin with the columns where the height shrinks by more than twice as many pixels as the width.
    Otherwise that order is computed for one pixel.
    """
    scale, rounds = float(steps or 1), steps is not None

    def passed(product: str, value: str) -> str:
        """`<value>`: the result of a pass, from the product that it is."""
        return (
            f"""
    {value}_sum = {product}
    """
            + _kept(f"{value}_sum", scale, rounds=rounds)
            + f"""
    {value} = Where ({out}_overshoots, {value}_sum_whole, {value}_sum)
    """
        )

    return (
        f"""
    {out}_overshoots = Greater (@method, #3)
    {out}_scale = Where ({out}_overshoots, #{scale}, #1.0)
    {out}_source = Mul ({x}, {out}_scale)
    {out}_right = Transpose <perm = [1, 0]> (weights_x)
    {out}_size_y = Shape (weights_y)
    {out}_signed_y = Mul ({out}_size_y, #[-1,1])
    {out}_lower = ReduceSum <keepdims = 0> ({out}_signed_y)
    {out}_size_x = Shape (weights_x)
    {out}_signed_x = Mul ({out}_size_x, #[-2,2])
    {out}_twice_narrower = ReduceSum <keepdims = 0> ({out}_signed_x)
    {out}_at_least = Max ({out}_twice_narrower, #0)
    {out}_much_lower = Greater ({out}_lower, {out}_at_least)
    {out}_turns = And ({out}_overshoots, {out}_much_lower)
    {out}_ends = Where ({out}_turns, #[2147483647,2147483647], #[1,1])
    {out}_seen = Slice ({out}_source, #[0,0], {out}_ends, #[2,3])
    {out}_seen_y = Slice (weights_y, #[0,0], {out}_ends)
    {out}_seen_right = Slice ({out}_right, #[0,0], {out}_ends)
    """
        + passed(f"MatMul ({out}_source, {out}_right)", f"{out}_narrow")
        + passed(f"MatMul (weights_y, {out}_narrow)", f"{out}_rows_first")
        + passed(f"MatMul ({out}_seen_y, {out}_seen)", f"{out}_low")
        + passed(f"MatMul ({out}_low, {out}_seen_right)", f"{out}_columns_first")
        + f"""
    {out}_scaled = Where ({out}_turns, {out}_columns_first, {out}_rows_first)
    {out} = Div ({out}_scaled, {out}_scale)
    """
    )


def _kept(value: str, most: float, *, rounds: bool) -> str:
    """`<value>_whole`: clamped to 0…`most`, NaN to 0, and rounded."""
    if not rounds:
        return clamp(value, f"{value}_whole", most)
    return (
        clamp(value, f"{value}_inside", most)
        + f"""
    {value}_half_more = Add ({value}_inside, #0.5)
    {value}_whole = Floor ({value}_half_more)
    """
    )


def clamp(value: str, out: str, most: float = 1.0) -> str:
    """Clamp to 0…`most`, and NaN to 0."""
    return f"""
    {out}_inside = Clip ({value}, #0.0, #{most})
    {out}_nan = IsNaN ({value})
    {out} = Where ({out}_nan, #0.0, {out}_inside)
    """


def alpha_of(maps: str, x: str, out: str) -> str:
    """The alpha of each pixel of `x`, 0…1, from maps of its size: of one channel, or of four.

    Four are slopes for red, green and blue, and an offset. One channel is the offset, with slopes of zero.
    """
    return f"""
    {out}_channels = Shape <start = 1, end = 2> ({maps})
    {out}_slopes = Sub ({out}_channels, #[1])
    {out}_missing = Sub (#[3], {out}_slopes)
    {out}_offset = Slice ({maps}, {out}_slopes, {out}_channels, #[1])
    {out}_given = Slice ({maps}, #[0], {out}_slopes, #[1])
    {out}_none = Slice ({x}, #[0], {out}_missing, #[1])
    {out}_zero = Mul ({out}_none, #0.0)
    {out}_slope = Concat <axis = 1> ({out}_given, {out}_zero)
    {out}_products = Mul ({out}_slope, {x})
    {out}_sum = ReduceSum ({out}_products, #[1])
    {out}_free = Add ({out}_sum, {out}_offset)
    """ + clamp(f"{out}_free", out)


def write(value: str, channels: int, out: str) -> str:
    """Write a value, 0…1 and RGB(A), with the channels, the layout and the type of the matte."""
    order = {3: "@matte_channels", 4: "with_alpha"}.get(channels)
    text, ordered = "", value
    if order is not None:
        ordered = f"{out}_ordered"
        text = f"""
    {ordered} = Gather <axis = 1> ({value}, {order})
    """
    return f"""{text}
    {out}_scaled = Mul ({ordered}, scale)
    {out}_whole = Round ({out}_scaled)
    {out}_rounded = Where (rounds, {out}_whole, {out}_scaled)
    {out}_laid = Transpose <perm: ints = @matte_perm> ({out}_rounded)
    {out} = Cast <to: int = @matte_type> ({out}_laid)
    """


def sinks(color: str, alpha: str, size: str) -> str:
    """The outputs of an op that writes a matte."""
    return (
        clamp(color, "color")
        + clamp(alpha, "alpha_inside")
        + resize("background", size, "background_full")
        + """
    opposite = Sub (#1.0, alpha_inside)
    front = Mul (color, alpha_inside)
    behind = Mul (background_full, opposite)
    blended = Add (front, behind)
    """
        + clamp("blended", "blend")
        + """
    scale = Cast <to = 1> (@matte_range)
    rounds = Equal (@matte_range, #255)
    with_alpha = Concat <axis = 0> (@matte_channels, #[3])
    straight = Concat <axis = 1> (color, alpha_inside)
    """
        + "".join(write(output.value, output.channels, output.name) for output in OUTPUTS)
    )
