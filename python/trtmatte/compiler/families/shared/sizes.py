"""The size of the picture that a network sees, as a setting of its family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trtmatte.compiler.families.flags import flag_metadata
from trtmatte.errors import SettingError

__all__ = ["INPUT_SIZE", "METHODS", "Size", "checked_method", "checked_size", "size_text", "way_back"]

METHODS: Final = {"linear": 0, "area": 1, "antialias": 2, "lanczos": 4, "bicubic": 5}
"""The ways to sample a frame, and their numbers in the ops' attributes."""

Size = tuple[int, int]

INPUT_SIZE: Final = flag_metadata(
    "size of the picture that the network sees (default: the model's own rule)", kind="size", metavar="WxH"
)
"""The metadata of the setting `input_size`."""


def checked_size(size: Sequence[int] | None, divisor: int = 1) -> Size | None:
    """The setting `input_size`: a width and a height that `divisor` divides, or None."""
    if size is None:
        return None
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(_is_side(side, divisor) for side in size):
        return size[0], size[1]
    wanted = f"multiples of {divisor}" if divisor > 1 else "whole numbers from 1"
    raise SettingError(f"input_size is {size!r}; expected a width and a height, {wanted}")


def checked_method(method: str) -> None:
    """Refuse a setting `method` that samples no frame."""
    if method not in METHODS:
        raise SettingError(f"method is {method!r}; expected one of {', '.join(METHODS)}")


def way_back(method: str) -> str:
    """The method for the alpha of a picture that was sampled with `method`: the same, but for `antialias`."""
    return "linear" if method == "antialias" else method


def size_text(size: Sequence[int] | None) -> str:
    return "not given" if size is None else "x".join(str(side) for side in size)


def _is_side(side: object, divisor: int) -> bool:
    return isinstance(side, int) and side >= 1 and side % divisor == 0
