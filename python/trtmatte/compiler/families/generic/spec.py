"""The settings of an unknown network: how its picture is prepared, and which output is the alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.normalisation import check_normalisation
from trtmatte.compiler.families.shared.settings import Refinement
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_method, checked_size

NAME: Final = "generic"


@dataclass(frozen=True)
class Settings(Refinement):
    """The picture that the network sees: `input_size` (a file of fixed size has its own), sampled by `method`, as
    `(picture - mean) / std` of a picture in 0…1. `output` names the alpha; left out, it is the first output of one
    channel."""

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    method: str = "antialias"
    output: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_size(self.input_size)
        check_normalisation(self.mean, self.std)
        checked_method(self.method)
