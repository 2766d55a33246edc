"""The settings of an unknown network: how its picture is prepared, and which output is the alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.normalisation import check_normalisation
from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, METHODS, Size, checked_size
from trtmatte.errors import SettingError

NAME: Final = "generic"


@dataclass(frozen=True)
class Settings:
    """The picture that the network sees: `input_size` (a file of fixed size has its own), sampled by `method`, as
    `(picture - mean) / std` of a picture in 0…1. `output` names the alpha; left out, it is the first output of one
    channel."""

    input_size: Size | None = field(default=None, metadata=INPUT_SIZE)
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    method: str = "antialias"
    output: str | None = None

    def __post_init__(self) -> None:
        checked_size(self.input_size)
        check_normalisation(self.mean, self.std)
        if self.method not in METHODS:
            raise SettingError(f"method is {self.method!r}; expected one of {', '.join(METHODS)}")
