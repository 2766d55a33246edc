"""PatchSelect: the patches with the largest errors."""

from typing import Final

from onnx import TensorProto

from trtmatte.compiler.graph.functions.language import Op, Required
from trtmatte.compiler.graph.functions.passages import resize

__all__ = ["OP"]

OP: Final = Op(
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
    + resize("err", "grid", "error")
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
