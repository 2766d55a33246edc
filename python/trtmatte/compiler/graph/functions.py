"""The six ops as ONNX functions of standard operators: the executable specification of `docs/ops.md`.

A body is written in ONNX's own text format, with two conveniences that `_hoist` turns into `Constant` nodes: `#2`,
`#0.5` and `#[2]` are constants (int64, float, int64 vector), and `@name` as an operand is the value of that attribute.
Shared passages (reading a frame, the weights of a sampling method, the sinks) are Python functions that return text.

No function calls another, no operator is used that a later opset writes differently, and nothing branches: what a
setting decides is chosen by `Where` between small tensors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, parser

from trtmatte.errors import ModelError
from trtmatte.format.outputs import MATTE_OUTPUTS, OUTPUTS

DOMAIN: Final = "trtmatte"
VERSION: Final = 1
OPSET: Final = 17
IR_VERSION: Final = 8

Value = int | float | Sequence[int] | Sequence[float]


class Required(Enum):
    """Stands for the default of an attribute that has none."""

    INT = "int"
    INTS = "ints"


@dataclass(frozen=True)
class Op:
    """What a node of the op looks like: its attributes with their defaults."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, tuple[int | str, int]]  # the element type, or the attribute that states it; the rank
    attributes: Mapping[str, Value | Required]
    body: str


# ---------------------------------------------------------------------------------------------------------------------
# Passages


def _unpack(frame: str, x: str) -> str:
    """A frame of any layout as `x[B,3,H,W]`, RGB, 0…1."""
    return f"""
    {x}_float = Cast <to = 1> ({frame})
    {x}_planes = Transpose <perm: ints = @frame_perm> ({x}_float)
    {x}_rgb = Gather <axis = 1> ({x}_planes, @frame_channels)
    {x}_range = Cast <to = 1> (@frame_range)
    {x} = Div ({x}_rgb, {x}_range)
    """


def _extent(x: str) -> str:
    """The height and the width of a picture: as scalars and, for Resize, as a vector."""
    return f"""
    {x}_shape = Shape ({x})
    {x}_height = Gather ({x}_shape, #2)
    {x}_width = Gather ({x}_shape, #3)
    {x}_size = Shape <start = 2> ({x})
    """


def _resize(small: str, size: str, out: str) -> str:
    """Linear sampling to a size, with pixel centres at halves and borders clamped."""
    return f"""
    {out}_source = Cast <to = 1> ({small})
    {out}_planes = Shape <end = 2> ({small})
    {out}_sizes = Concat <axis = 0> ({out}_planes, {size})
    {out} = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> ({out}_source, , , {out}_sizes)
    """


def _weights(axis: str, count: str, length: str, num: str, den: str, methods: int) -> str:
    """`weights_<axis>[count, length]` of the first `methods` sampling methods, outputs being `num / den` pixels apart.

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
    chosen_1_@ = Where (is_area_@, area_@, linear_@)
    """
    if methods > 2:
        text += f"""
    distance_float_@ = Cast <to = 1> (distance_@)
    wider_@ = Max ({num}, {den})
    support_@ = Mul (wider_@, #2)
    support_float_@ = Cast <to = 1> (support_@)
    far_@ = Div (distance_float_@, support_float_@)
    near_@ = Sub (#1.0, far_@)
    tent_@ = Relu (near_@)
    is_antialias_@ = Equal (@method, #2)
    chosen_2_@ = Where (is_antialias_@, tent_@, chosen_1_@)

    pixels_@ = Div (distance_float_@, one_pixel_float_@)
    sigmas_@ = Div (pixels_@, @sigma)
    squared_@ = Mul (sigmas_@, sigmas_@)
    exponent_@ = Mul (squared_@, #-0.5)
    bell_@ = Exp (exponent_@)
    edge_@ = Exp (#-4.5)
    lowered_@ = Sub (bell_@, edge_@)
    gaussian_@ = Relu (lowered_@)
    is_gaussian_@ = Equal (@method, #3)
    chosen_3_@ = Where (is_gaussian_@, gaussian_@, chosen_2_@)
    """
    text += f"""
    total_@ = ReduceSum (chosen_{methods - 1}_@, #[1])
    weights_@ = Div (chosen_{methods - 1}_@, total_@)
    """
    return re.sub(r"_@", f"_{axis}", text)


def _sample(x: str, out: str) -> str:
    """Applies `weights_y` and `weights_x` to a picture; the wider axis first, so that little is left for the other."""
    return f"""
    {out}_right = Transpose <perm = [1, 0]> (weights_x)
    {out}_narrow = MatMul ({x}, {out}_right)
    {out} = MatMul (weights_y, {out}_narrow)
    """


def _clamp(value: str, out: str) -> str:
    """0…1, and 0 for what is not a number."""
    return f"""
    {out}_inside = Clip ({value}, #0.0, #1.0)
    {out}_nan = IsNaN ({value})
    {out} = Where ({out}_nan, #0.0, {out}_inside)
    """


def _write(value: str, out: str) -> str:
    return f"""
    {out}_scaled = Mul ({value}, scale)
    {out}_whole = Round ({out}_scaled)
    {out}_rounded = Where (rounds, {out}_whole, {out}_scaled)
    {out}_laid = Transpose <perm: ints = @matte_perm> ({out}_rounded)
    {out} = Cast <to: int = @matte_type> ({out}_laid)
    """


def _sinks(color: str, alpha: str, size: str) -> str:
    """The outputs of an op that writes a matte."""
    return (
        _clamp(color, "color")
        + _clamp(alpha, "alpha_inside")
        + _resize("background", size, "background_full")
        + """
    opposite = Sub (#1.0, alpha_inside)
    front = Mul (color, alpha_inside)
    behind = Mul (background_full, opposite)
    blended = Add (front, behind)
    """
        + _clamp("blended", "blend")
        + """
    scale = Cast <to = 1> (@matte_range)
    rounds = Equal (@matte_range, #255)
    color_ordered = Gather <axis = 1> (color, @matte_channels)
    blend_ordered = Gather <axis = 1> (blend, @matte_channels)
    straight = Concat <axis = 1> (color_ordered, alpha_inside)
    """
        + "".join(_write(output.value, output.name) for output in OUTPUTS)
    )


def _crop(picture: str, stride: int, halo: int, out: str) -> str:
    """Squares around `stride * row, stride * column` of the pictures that `indices` names.

    The pictures get a border of `halo` zeros, of which kernel 1 sees nothing, and one picture of zeros at the end,
    to which the index -1 points.
    """
    return f"""
    {out}_padded = Pad <mode = "constant"> ({picture}, #[0,0,{halo},{halo},1,0,{halo},{halo}])
    {out}_pixels = Transpose <perm = [0, 2, 3, 1]> ({out}_padded)
    {out}_around = Mul (halos, #{halo})
    {out}_around_twice = Mul ({out}_around, #2)
    {out}_side = Add ({out}_around_twice, #{stride})
    {out}_skipped = Sub (#{halo}, {out}_around)
    {out}_steps = Range (#0, {out}_side, #1)
    {out}_offsets = Add ({out}_steps, {out}_skipped)
    {out}_offset_rows = Unsqueeze ({out}_offsets, #[1])
    {out}_tops = Mul (rows, #{stride})
    {out}_lefts = Mul (columns, #{stride})
    {out}_ys = Add ({out}_tops, {out}_offset_rows)
    {out}_xs = Add ({out}_lefts, {out}_offsets)
    {out}_square = Add ({out}_ys, {out}_xs)
    {out}_blank = Mul ({out}_square, #0)
    {out}_at_b = Add ({out}_blank, images)
    {out}_at_y = Add ({out}_blank, {out}_ys)
    {out}_at_x = Add ({out}_blank, {out}_xs)
    {out}_at_b1 = Unsqueeze ({out}_at_b, #[3])
    {out}_at_y1 = Unsqueeze ({out}_at_y, #[3])
    {out}_at_x1 = Unsqueeze ({out}_at_x, #[3])
    {out}_at = Concat <axis = 3> ({out}_at_b1, {out}_at_y1, {out}_at_x1)
    {out}_cut = GatherND ({out}_pixels, {out}_at)
    {out}_planes = Transpose <perm = [0, 3, 1, 2]> ({out}_cut)
    {out} = Cast <to: int = @type> ({out}_planes)
    """


# ---------------------------------------------------------------------------------------------------------------------
# The ops

_FRAME: Final[dict[str, Value | Required]] = {
    "frame_perm": [0, 3, 1, 2],
    "frame_channels": [0, 1, 2],
    "frame_range": 255,
}
_MATTE: Final[dict[str, Value | Required]] = {
    "matte_perm": [0, 2, 3, 1],
    "matte_channels": [0, 1, 2],
    "matte_range": 255,
    "matte_type": int(TensorProto.UINT8),
}
_SINKS: Final = dict.fromkeys(MATTE_OUTPUTS, ("matte_type", 4))

_FRAME_SAMPLE = Op(
    inputs=("frame",),
    outputs={"sample": ("type", 4)},
    attributes={
        "height": Required.INT,
        "width": Required.INT,
        "step_y": Required.INTS,
        "step_x": Required.INTS,
        "method": 0,
        "sigma": 1.0,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "type": int(TensorProto.FLOAT),
        **_FRAME,
    },
    body=_unpack("frame", "x")
    + _extent("x")
    + """
    num_y = Gather (@step_y, #0)
    den_y = Gather (@step_y, #1)
    num_x = Gather (@step_x, #0)
    den_x = Gather (@step_x, #1)
    """
    + _weights("y", "@height", "x_height", "num_y", "den_y", methods=4)
    + _weights("x", "@width", "x_width", "num_x", "den_x", methods=4)
    + _sample("x", "sampled")
    + """
    mean_planes = Reshape (@mean, #[1,3,1,1])
    std_planes = Reshape (@std, #[1,3,1,1])
    centered = Sub (sampled, mean_planes)
    normal = Div (centered, std_planes)
    sample = Cast <to: int = @type> (normal)
    """,
)

_GUIDED_UPSAMPLE = Op(
    inputs=("frame", "A", "b", "background"),
    outputs=_SINKS,
    attributes={**_FRAME, **_MATTE},
    body=_unpack("frame", "x")
    + _extent("x")
    + _resize("A", "x_size", "A_full")
    + _resize("b", "x_size", "b_full")
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
    + _sinks("foreground", "alpha", "x_size"),
)

_MATTE_UPSAMPLE = Op(
    inputs=("frame", "alpha", "background"),
    outputs=_SINKS,
    attributes={"method": 0, **_FRAME, **_MATTE},
    body=_unpack("frame", "x")
    + _extent("x")
    + """
    small = Cast <to = 1> (alpha)
    """
    + _extent("small")
    + _weights("y", "x_height", "small_height", "small_height", "x_height", methods=2)
    + _weights("x", "x_width", "small_width", "small_width", "x_width", methods=2)
    + _sample("small", "full_alpha")
    + _sinks("x", "full_alpha", "x_size"),
)

_PATCH_SELECT = Op(
    inputs=("err",),
    outputs={"indices": (TensorProto.INT32, 2), "count": (TensorProto.INT32, 1), "ref": (TensorProto.FLOAT, 4)},
    attributes={
        "height": Required.INT,
        "width": Required.INT,
        "mode": 0,
        "k": 1,
        "threshold": 0.1,
        "prevent_oversampling": 1,
        "capacity": Required.INT,
    },
    body="""
    height_1 = Unsqueeze (@height, #[0])
    width_1 = Unsqueeze (@width, #[0])
    grid = Concat <axis = 0> (height_1, width_1)
    """
    + _resize("err", "grid", "error")
    + """
    cells = Mul (@height, @width)
    flat = Flatten <axis = 1> (error)
    flat_nan = IsNaN (flat)
    value = Where (flat_nan, #-3.4028234e38, flat)

    # The largest: TopK puts the first of equal values first.
    k = Min (@k, cells)
    k_1 = Unsqueeze (k, #[0])
    largest, largest_at = TopK <axis = 1, largest = 1, sorted = 1> (value, k_1)
    flat_shape = Shape (flat)
    largest_shape = Shape (largest_at)
    nothing = Expand (#0.0, flat_shape)
    something = Expand (#1.0, largest_shape)
    top = ScatterElements <axis = 1> (nothing, largest_at, something)
    positive = Greater (value, #0.0)
    tolerant = Equal (@prevent_oversampling, #0)
    worth = Or (positive, tolerant)
    is_top = Greater (top, #0.5)
    sampled = And (is_top, worth)

    above = Greater (value, @threshold)
    samples = Equal (@mode, #0)
    sampled_here = And (samples, sampled)
    thresholds = Not (samples)
    above_here = And (thresholds, above)
    selected = Or (sampled_here, above_here)

    # Each selected cell's number goes to its rank, all others to one slot after all; what exceeds capacity is cut off.
    chosen = Reshape (selected, #[-1])
    chosen_number = Cast <to = 7> (chosen)
    ranks_from_1 = CumSum (chosen_number, #0)
    rank = Sub (ranks_from_1, #1)
    all_cells_1 = Shape (chosen)
    all_cells = Squeeze (all_cells_1, #[0])
    number = Range (#0, all_cells, #1)
    capacity_1 = Unsqueeze (@capacity, #[0])
    aside_1 = Add (all_cells_1, capacity_1)
    slot = Where (chosen, rank, aside_1)
    one_more = Add (aside_1, #1)
    empty = Expand (#-1, one_more)
    slots = ScatterElements <axis = 0> (empty, slot, number)
    cell = Slice (slots, #[0], capacity_1)

    image = Div (cell, cells)
    before = Mul (image, cells)
    within = Sub (cell, before)
    row = Div (within, @width)
    before_row = Mul (row, @width)
    column = Sub (within, before_row)
    image_1 = Unsqueeze (image, #[1])
    row_1 = Unsqueeze (row, #[1])
    column_1 = Unsqueeze (column, #[1])
    place = Concat <axis = 1> (image_1, row_1, column_1)
    cell_1 = Unsqueeze (cell, #[1])
    unused = Less (cell_1, #0)
    place_or_none = Where (unused, #-1, place)
    indices = Cast <to = 6> (place_or_none)
    count_all = ReduceSum (chosen_number, #[0])
    count = Cast <to = 6> (count_all)
    selected_float = Cast <to = 1> (selected)
    error_shape = Shape (error)
    ref = Reshape (selected_float, error_shape)
    """,
)

_PATCH_CROP = Op(
    inputs=("maps", "src", "bgr", "indices"),
    outputs={"half": ("type", 4), "full": ("type", 4)},
    attributes={"kernel": 3, "type": int(TensorProto.FLOAT), **_FRAME},
    body=_unpack("src", "x")
    + _unpack("bgr", "z")
    + """
    x6 = Concat <axis = 1> (x, z)
    x6_size = Shape <start = 2> (x6)
    half_size = Div (x6_size, #2)
    """
    + _resize("maps", "half_size", "maps_half")
    + _resize("x6", "half_size", "x6_half")
    + """
    picture_half = Concat <axis = 1> (maps_half, x6_half)
    kernel_less_1 = Sub (@kernel, #1)
    halos = Div (kernel_less_1, #2)
    batch_1 = Shape <end = 1> (x6)
    place = Cast <to = 7> (indices)
    place_4 = Unsqueeze (place, #[2,3])
    image = Slice (place_4, #[0], #[1], #[1])
    is_none = Less (image, #0)
    image_or_blank = Where (is_none, batch_1, image)
    inside = Max (place_4, #0)
    images = Squeeze (image_or_blank, #[1])
    row_4 = Slice (inside, #[1], #[2], #[1])
    rows = Squeeze (row_4, #[1])
    column_4 = Slice (inside, #[2], #[3], #[1])
    columns = Squeeze (column_4, #[1])
    """
    + _crop("picture_half", 2, 3, "half")
    + _crop("x6", 4, 2, "full"),
)

_PATCH_SCATTER = Op(
    inputs=("coarse", "patches", "indices", "frame", "background"),
    outputs=_SINKS,
    attributes={**_FRAME, **_MATTE},
    body=_unpack("frame", "x")
    + _extent("x")
    + _resize("coarse", "x_size", "canvas")
    + """
    batch = Gather (x_shape, #0)
    grid_height = Div (x_height, #4)
    grid_width = Div (x_width, #4)
    cells = Mul (grid_height, grid_width)
    all_cells = Mul (cells, batch)

    # The number of the cell that each patch covers; the index -1 covers one after the last.
    place = Cast <to = 7> (indices)
    image_1 = Slice (place, #[0], #[1], #[1])
    row_1 = Slice (place, #[1], #[2], #[1])
    column_1 = Slice (place, #[2], #[3], #[1])
    image_offset = Mul (image_1, cells)
    row_offset = Mul (row_1, grid_width)
    place_in_image = Add (row_offset, column_1)
    cell_1 = Add (image_offset, place_in_image)
    is_none = Less (image_1, #0)
    target_1 = Where (is_none, all_cells, cell_1)
    target = Squeeze (target_1, #[1])

    # The patch of each cell, or one of zeros after the last. ONNX Runtime scatters elements in order: the last wins.
    patches_1 = Shape <end = 1> (indices)
    patch_count = Squeeze (patches_1, #[0])
    patch_number = Range (#0, patch_count, #1)
    all_cells_1 = Unsqueeze (all_cells, #[0])
    one_more = Add (all_cells_1, #1)
    nobody = Expand (patch_count, one_more)
    owners = ScatterElements <axis = 0> (nobody, target, patch_number)
    owner = Slice (owners, #[0], all_cells_1)
    patch_values = Cast <to = 1> (patches)
    patches_and_none = Pad <mode = "constant"> (patch_values, #[0,0,0,0,1,0,0,0])
    blocks = Gather <axis = 0> (patches_and_none, owner)
    covered = Less (owner, patch_count)

    batch_1 = Unsqueeze (batch, #[0])
    grid_height_1 = Unsqueeze (grid_height, #[0])
    grid_width_1 = Unsqueeze (grid_width, #[0])
    grid_shape = Concat <axis = 0> (batch_1, grid_height_1, grid_width_1)
    blocks_shape = Concat <axis = 0> (grid_shape, #[4,4,4])
    blocks_6 = Reshape (blocks, blocks_shape)
    blocks_in_place = Transpose <perm = [0, 3, 1, 4, 2, 5]> (blocks_6)
    canvas_shape = Shape (canvas)
    refined = Reshape (blocks_in_place, canvas_shape)
    covered_shape = Concat <axis = 0> (batch_1, #[1], grid_height_1, #[1], grid_width_1, #[1])
    covered_6 = Reshape (covered, covered_shape)
    covered_block_shape = Concat <axis = 0> (batch_1, #[1], grid_height_1, #[4], grid_width_1, #[4])
    covered_pixels_6 = Expand (covered_6, covered_block_shape)
    covered_pixels_shape = Concat <axis = 0> (batch_1, #[1], x_size)
    covered_pixels = Reshape (covered_pixels_6, covered_pixels_shape)
    result = Where (covered_pixels, refined, canvas)
    alpha = Slice (result, #[0], #[1], #[1])
    residual = Slice (result, #[1], #[4], #[1])
    foreground = Add (residual, x)
    """
    + _sinks("foreground", "alpha", "x_size"),
)

OPS: Final[Mapping[str, Op]] = {
    "FrameSample": _FRAME_SAMPLE,
    "GuidedUpsample": _GUIDED_UPSAMPLE,
    "MatteUpsample": _MATTE_UPSAMPLE,
    "PatchSelect": _PATCH_SELECT,
    "PatchCrop": _PATCH_CROP,
    "PatchScatter": _PATCH_SCATTER,
}


def functions(opset: int = OPSET) -> list[FunctionProto]:
    """The bodies of all ops."""
    return [function(op, opset) for op in OPS]


def function(op: str, opset: int = OPSET) -> FunctionProto:
    """The body of one op, for a model of this opset (17 or later)."""
    copy = FunctionProto()
    copy.CopyFrom(_function(op))
    copy.opset_import[0].version = opset
    return copy


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Value) -> NodeProto:
    """A node of the op. Attributes left out get their defaults; outputs that nobody wants may be left empty."""
    spec = _op(op)
    for kind, given, expected in (("inputs", inputs, spec.inputs), ("outputs", outputs, tuple(spec.outputs))):
        if len(given) != len(expected):
            raise ModelError(f"{op} has the {kind} {', '.join(expected)}, but {len(given)} were given")
    unknown = attributes.keys() - spec.attributes.keys()
    if unknown:
        raise ModelError(f"{op} has no attribute {', '.join(sorted(unknown))}; it has {', '.join(spec.attributes)}")
    missing = {key for key, value in spec.attributes.items() if isinstance(value, Required)} - attributes.keys()
    if missing:
        raise ModelError(f"{op} needs the attribute {', '.join(sorted(missing))}")

    proto = helper.make_node(f"TrtMatte{op}", inputs, outputs, domain=DOMAIN)
    values = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
    proto.attribute.extend(helper.make_attribute(key, value) for key, value in values.items())
    for key, default in spec.attributes.items():
        value = attributes.get(key, default)
        assert not isinstance(value, Required)
        proto.attribute.append(helper.make_attribute(key, _as_kind(op, key, value, _kind(default))))
    return proto


def model(
    op: str,
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[str],
    **attributes: Value,
) -> ModelProto:
    """A model of one node. An input is its name, ONNX element type and shape; outputs left empty are not computed."""
    proto = node(op, [name for name, _, _ in inputs], outputs, **attributes)
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in proto.attribute}
    results = []
    for name, (element, rank) in zip(outputs, _op(op).outputs.values(), strict=True):
        if name:
            element = settings[element] if isinstance(element, str) else element
            results.append(helper.make_tensor_value_info(name, element, [None] * rank))
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    graph = helper.make_graph([proto], op, [helper.make_tensor_value_info(*given) for given in inputs], results)
    return helper.make_model(graph, functions=[function(op)], opset_imports=imports, ir_version=IR_VERSION)


def _op(op: str) -> Op:
    if op not in OPS:
        raise ModelError(f"{op} is not an op of trtmatte: {', '.join(OPS)}")
    return OPS[op]


@cache
def _function(op: str) -> FunctionProto:
    spec = _op(op)
    attributes = ", ".join(
        key if isinstance(default, Required) else f"{key}: {_kind(default)} = {_literal(default)}"
        for key, default in spec.attributes.items()
    )
    return parser.parse_function(
        f'''<opset_import: ["" : {OPSET}], domain: "{DOMAIN}">
        TrtMatte{op} <{attributes}> ({", ".join(spec.inputs)}) => ({", ".join(spec.outputs)}) {{
        {_hoist(spec.body, spec.attributes)}
        }}'''
    )


def _hoist(body: str, attributes: Mapping[str, Value | Required]) -> str:
    """Turns the operands `#constant` and `@attribute` into Constant nodes before the body."""
    constants: dict[str, str] = {}

    def name_of(match: re.Match[str]) -> str:
        before, sign, operand = match.groups()
        if sign == "@":
            kind = _kind(attributes[operand])
            name = f"given_{operand}"
            constants[name] = f"Constant <value_{kind}: {kind} = @{operand}> ()"
        else:
            kind = "ints" if operand.startswith("[") else "float" if "." in operand else "int"
            name = "constant_" + re.sub(r"\W", lambda other: {"-": "minus", ".": "p"}.get(other[0], "_"), operand)
            constants[name] = f"Constant <value_{kind}: {kind} = {operand}> ()"
        return before + name

    body = re.sub(r"([(,]\s*)([#@])(\[[^]]*\]|[-\w.]+)", name_of, body)
    return "\n".join(f"{name} = {constant}" for name, constant in constants.items()) + body


def _kind(value: Value | Required) -> str:
    """The ONNX name of an attribute's type."""
    if isinstance(value, Required):
        return value.value
    if isinstance(value, Sequence):
        return _kind(value[0]) + "s"
    return "float" if isinstance(value, float) else "int"


def _literal(value: Value) -> str:
    return str(list(value) if isinstance(value, Sequence) else value)


def _as_kind(op: str, key: str, value: Value, kind: str) -> Value:
    """The value with exactly the type that the body reads: an int where a float is meant would be misread."""
    convert: type[int] | type[float] = float if kind.startswith("float") else int
    if isinstance(value, Sequence) != kind.endswith("s"):
        raise ModelError(f"{op}'s attribute {key} is {value!r}; expected {kind}")
    return [convert(each) for each in value] if isinstance(value, Sequence) else convert(value)
