"""PatchScatter: from coarse maps and refined patches to the matte of a frame."""

from typing import Final

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import FRAME, MATTE, SINKS, extent, resize, sinks, unpack

__all__ = ["OP"]

OP: Final = Op(
    inputs=("coarse", "patches", "indices", "frame", "background"),
    outputs=SINKS,
    attributes={**FRAME, **MATTE},
    body=unpack("frame", "x")
    + extent("x")
    + resize("coarse", "x_size", "canvas")
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
    + sinks("foreground", "alpha", "x_size"),
)
