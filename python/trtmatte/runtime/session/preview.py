"""Mattes as notebooks show them: one small picture over a checkerboard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

__all__ = ["preview"]

_LARGEST: Final = 480  # pixels, of the longer side
_SQUARE: Final = 12
_SHADES: Final = (204, 255)


def preview(pictures: Mapping[str, Any]) -> bytes | None:
    """PIL images of one matte, by the outputs, as PNG: what is cut out, else the composite, else the alpha.

    None if there are none.
    """
    small = {name: _small(picture) for name, picture in pictures.items()}
    if "rgba" not in small and {"fgr", "pha"} <= small.keys():
        small["rgba"] = small["fgr"].convert("RGB")
        small["rgba"].putalpha(small["pha"])
    shown = next((small[name] for name in ("rgba", "composite", "pha", *small) if name in small), None)
    if shown is None:
        return None
    if shown.mode == "RGBA":
        behind = _checkerboard(shown.size)
        behind.paste(shown, mask=shown)
        shown = behind
    file = io.BytesIO()
    shown.save(file, "PNG")
    return file.getvalue()


def _small(picture: Any) -> Any:
    from PIL import Image

    small = picture.copy()
    small.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    return small


def _checkerboard(size: tuple[int, int]) -> Any:
    from PIL import Image

    rows, columns = (np.arange(each) // _SQUARE for each in reversed(size))
    grey = np.where((rows[:, None] + columns) % 2, *_SHADES).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
