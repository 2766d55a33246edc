"""FrameSample: a frame becomes the small, normalised picture that a network sees."""

from typing import Final

from onnx import TensorProto

from trtmatte.compiler.graph.functions.language import Op, Required
from trtmatte.compiler.graph.functions.passages import FRAME, extent, sample, unpack, weights

__all__ = ["OP"]

OP: Final = Op(
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
        **FRAME,
    },
    body=unpack("frame", "x")
    + extent("x")
    + """
    num_y = Gather (@step_y, #0)
    den_y = Gather (@step_y, #1)
    num_x = Gather (@step_x, #0)
    den_x = Gather (@step_x, #1)
    """
    + weights("y", "@height", "x_height", "num_y", "den_y", gaussian=True)
    + weights("x", "@width", "x_width", "num_x", "den_x", gaussian=True)
    + sample("x", "sampled", steps=255)
    + """
    mean_planes = Reshape (@mean, #[1,3,1,1])
    std_planes = Reshape (@std, #[1,3,1,1])
    centered = Sub (sampled, mean_planes)
    normal = Div (centered, std_planes)
    sample = Cast <to: int = @type> (normal)
    """,
)
