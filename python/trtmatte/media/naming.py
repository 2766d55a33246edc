"""The names of outputs where none is given: beside the source, and like it a film or a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import SettingError
from trtmatte.media import pictures
from trtmatte.media.formats import CODECS
from trtmatte.media.places import place_of, require_file
from trtmatte.support.options import option

__all__ = ["beside"]

_CUT_OUT: Final = "rgba"
_SUFFIXES: Final = {"prores": ".mov", "vp9": ".webm"}


def beside(
    source: Any, kinds: Sequence[str], *, output_type: str | None, codec: str | None, has_background: bool
) -> tuple[Path, str]:
    """Return the place of the outputs and the kind of a single one: `in-matte.mov`, or `in-composite.mp4`.

    Raises a SettingError for a source that has no place of its own.
    """
    found, is_film = _place(source)
    has_alpha = codec not in CODECS or bool(CODECS[codec].alpha)
    kind = kinds[0] if kinds else "composite" if has_background or not has_alpha else _CUT_OUT
    several = len(set(kinds)) > 1
    suffix = _SUFFIXES.get(codec or "", ".mov" if _CUT_OUT in (kind, *kinds) else ".mp4")
    if output_type == "png_sequence" or not (is_film or output_type == "video"):
        suffix = ""
    name = "matte" if kind == _CUT_OUT or (several and not suffix) else kind
    return found.with_name(found.name + ("" if several and suffix else f"-{name}") + suffix), kind


def _place(source: Any) -> tuple[Path, bool]:
    """The path of a source without its suffix, and True if it is a film."""
    place = place_of(source) if isinstance(source, (str, Path)) and str(source) != "-" else None
    if not isinstance(place, Path):
        raise SettingError(f"there is no folder to write to beside {_shown(source)}; say where: {option('output')}")
    shown = pictures.find(place)
    if shown is None:
        require_file(place)
        return place.with_suffix(""), True
    if len(shown) == 1 and shown[0] == place:
        raise SettingError(
            f"{place} is a single picture; say where its film is to be written: {option('output')}. For single "
            "pictures there is trtmatte image"
        )
    folder = place if os.path.isdir(place) else place.parent
    if folder.name in ("", ".."):
        raise SettingError(f"there is no name for an output beside {place}; say where: {option('output')}")
    return folder, False


def _shown(source: Any) -> str:
    return "standard input" if str(source) == "-" else str(source) if isinstance(source, str) else "this source"
