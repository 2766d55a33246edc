"""Mattes as notebooks show them: one small picture over a checkerboard."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trtmatte.errors import TrtmatteError

if TYPE_CHECKING:
    from trtmatte.runtime.session.matte import Matte

__all__ = ["preview"]

_LARGEST: Final = 480  # pixels, of the longer side
_SQUARE: Final = 12
_SHADES: Final = (204, 255)


def preview(matte: Matte) -> bytes | None:
    """The first frame as PNG: what is cut out, else the composite, else the alpha, else what there is.

    None if there is no Pillow, or nothing that can be a picture.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    pictures = {name: found for name in matte.names if (found := _small(matte, name, Image)) is not None}
    if "rgba" not in pictures and {"fgr", "pha"} <= pictures.keys():
        pictures["rgba"] = pictures["fgr"].convert("RGB")
        pictures["rgba"].putalpha(pictures["pha"])
    shown = next((pictures[name] for name in ("rgba", "composite", "pha", *pictures) if name in pictures), None)
    if shown is None:
        return None
    if shown.mode == "RGBA":
        behind = _checkerboard(shown.size, Image)
        behind.paste(shown, mask=shown)
        shown = behind
    file = io.BytesIO()
    shown.save(file, "PNG")
    return file.getvalue()


def _small(matte: Matte, name: str, image: Any) -> Any:
    """The first picture of an output, at most so large."""
    try:
        found = type(matte)({name: matte[name]}, matte._layout, matte._color).pil()[0]
    except TrtmatteError:  # an output that is no picture
        return None
    while isinstance(found, list):
        if not found:
            return None
        found = found[0]
    small = found.copy()
    small.thumbnail((_LARGEST, _LARGEST), image.Resampling.BOX)
    return small


def _checkerboard(size: tuple[int, int], image: Any) -> Any:
    rows, columns = (np.arange(each) // _SQUARE for each in reversed(size))
    grey = np.where((rows[:, None] + columns) % 2, *_SHADES).astype(np.uint8)
    return image.fromarray(grey).convert("RGB")
