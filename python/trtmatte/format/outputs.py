"""The outputs of the ops that write a matte: one row each (`docs/extending/output.md`), and the forms they can have.

`csrc/ops/math/outputs.h` is the same table for the native ops.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CHANNELS", "COLORS", "DEFAULT_OUTPUTS", "DTYPES", "LAYOUTS", "MATTE_OUTPUTS", "OUTPUTS", "Output"]


class Output(NamedTuple):
    """One output. Users of the commands type its `kind`.

    `value` is the value in the ops' ONNX functions that holds it: 0…1, in the order red, green, blue, alpha.
    """

    name: str
    channels: int
    kind: str
    value: str


OUTPUTS: Final = (
    Output("fgr", 3, "foreground", "color"),
    Output("pha", 1, "alpha", "alpha_inside"),
    Output("rgba", 4, "rgba", "straight"),
    Output("composite", 3, "composite", "blend"),
)

MATTE_OUTPUTS: Final = tuple(each.name for each in OUTPUTS)
CHANNELS: Final = {each.name: each.channels for each in OUTPUTS}
DEFAULT_OUTPUTS: Final = ("fgr", "pha")
"""The outputs of a session that names none."""

# The types, layouts and colours of frames and mattes, the usual one first.
DTYPES: Final = ("uint8", "float16", "float32")
LAYOUTS: Final = ("HWC", "CHW")
COLORS: Final = ("rgb", "bgr")
