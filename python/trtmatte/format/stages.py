"""The parts of a program: stages, and the tensors between them, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BACKGROUND",
    "DTYPES",
    "FRAME",
    "PATCHES",
    "PICTURES",
    "PLATE",
    "Attribute",
    "NetworkStage",
    "OpStage",
    "Stage",
    "State",
    "Tensor",
]

FRAME: Final = "frame"  # the picture to be matted
PLATE: Final = "plate"  # the photographed empty scene, which some families need
BACKGROUND: Final = "background"  # the picture that is put behind the subject in a composite
PICTURES: Final = (FRAME, PLATE, BACKGROUND)

PATCHES: Final = "patches"
"""The dimension that is known only once the patches of a frame are selected. `Program.capacity` is its upper bound."""

DTYPES: Final = ("float32", "float16", "int32")

Attribute = int | float | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Tensor:
    """A small tensor between stages. Its first dimension is the batch, or `PATCHES`."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class State:
    """Recurrent state: zeros at first, then the `input` of a frame is the `output` of the frame before."""

    name: str
    input: str
    output: str


@dataclass(frozen=True)
class NetworkStage:
    """A network. Its name is that of the ONNX model; inputs and outputs are named as in there."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OpStage:
    """An op, by its name in `docs/ops.md`. Outputs that nobody needs are empty.

    The attributes are those that the model determines. Where they depend on the frame's size they are those of
    `Program.size`.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def integer(self, name: str) -> int:
        """An attribute that is a whole number."""
        value = self.attributes[name]
        if not isinstance(value, int):
            raise TypeError(f"{name} of {self.op} is {value!r}; expected a whole number")
        return value

    def number(self, name: str) -> float:
        """An attribute that is a number."""
        value = self.attributes[name]
        if not isinstance(value, (int, float)):
            raise TypeError(f"{name} of {self.op} is {value!r}; expected a number")
        return float(value)


Stage = NetworkStage | OpStage
