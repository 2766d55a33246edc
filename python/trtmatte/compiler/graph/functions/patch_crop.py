"""PatchCrop: patches of the frame, the plate and the small maps, for the refiner."""

from typing import Final

from onnx import TensorProto

from trtmatte.compiler.graph.functions.language import Op
from trtmatte.compiler.graph.functions.passages import FRAME, resize, unpack

__all__ = ["OP"]


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


OP: Final = Op(
    inputs=("maps", "src", "bgr", "indices"),
    outputs={"half": ("type", 4), "full": ("type", 4)},
    attributes={"kernel": 3, "type": int(TensorProto.FLOAT), **FRAME},
    body=unpack("src", "x")
    + unpack("bgr", "z")
    + """
    x6 = Concat <axis = 1> (x, z)
    x6_size = Shape <start = 2> (x6)
    half_size = Div (x6_size, #2)
    """
    + resize("maps", "half_size", "maps_half")
    + resize("x6", "half_size", "x6_half")
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
