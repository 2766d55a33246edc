"""Alphas that PIL reads as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Alpha", "as_alpha"]


class Alpha(np.ndarray[Any, Any]):
    """A numpy array of one channel: an axis in `fgr * pha`, and none for PIL, which knows no such pictures.

    PIL asks for the array interface. numpy, torch, OpenCV and all others read the array itself.
    """

    @property
    def __array_interface__(self) -> dict[str, Any]:
        plain = self.view(np.ndarray)
        if plain.ndim == 3 and 1 in (plain.shape[0], plain.shape[2]):
            plain = plain[..., 0] if plain.shape[2] == 1 else plain[0]
        interface: dict[str, Any] = plain.__array_interface__
        return interface

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as numpy's own array, which is read where trtmatte is not installed."""
        return self.view(np.ndarray).__reduce_ex__(protocol)


def as_alpha(array: Any) -> Any:
    """The same memory as an alpha, if numpy has it."""
    return array.view(Alpha) if isinstance(array, np.ndarray) else array
