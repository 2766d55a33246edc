"""The normalisation of the picture that a network sees, as settings of its family."""

from __future__ import annotations

from collections.abc import Sequence

from trtmatte.errors import SettingError

__all__ = ["check_normalisation"]

_LARGEST = 1e30  # of a number that a float32 can hold


def check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Raise a SettingError unless both are three numbers, or left out."""
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and not _are_three_numbers(values):
            raise SettingError(f"{name} is {values!r}; expected three numbers, for red, green and blue")
    if std is not None and 0 in std:
        raise SettingError(f"std is {std!r}; expected three numbers that are not 0: it is what is divided by")


def _are_three_numbers(values: object) -> bool:
    if not isinstance(values, (tuple, list)) or len(values) != 3:
        return False
    return all(isinstance(value, (int, float)) and abs(value) < _LARGEST for value in values)
