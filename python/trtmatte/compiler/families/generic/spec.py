"""The settings of an unknown network: how its picture is prepared, and which output is the alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.compiler.families.shared.sizes import INPUT_SIZE, Size, checked_method, checked_size
from trtmatte.errors import SettingError

NAME: Final = "generic"
_LARGEST: Final = 1e30  # of a number that a float32 can hold


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
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not _are_three_numbers(values):
                raise SettingError(f"{name} is {values!r}; expected three numbers, for red, green and blue")
        if 0 in self.std:
            raise SettingError(f"std is {self.std!r}; expected three numbers that are not 0: it is what is divided by")
        checked_method(self.method)


def _are_three_numbers(values: object) -> bool:
    if not isinstance(values, (tuple, list)) or len(values) != 3:
        return False
    return all(isinstance(value, (int, float)) and abs(value) < _LARGEST for value in values)
