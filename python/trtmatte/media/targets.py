"""The files and folders that one run writes, one for each kind of output."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trtmatte.errors import OutputError, SettingError
from trtmatte.format.outputs import OUTPUTS
from trtmatte.media import formats
from trtmatte.media.formats import Encoding
from trtmatte.media.raw import RawSink
from trtmatte.media.source import Facts
from trtmatte.media.writing import PictureSink, Sink, VideoSink, numbered
from trtmatte.support.options import option

__all__ = ["CHANNELS", "KINDS", "MAPS", "Target", "targets"]

KINDS: Final = {output.kind: output.name for output in reversed(OUTPUTS)}
"""The kinds of pictures by the names that users type, with the session's names. The most usual kind comes first."""

MAPS: Final = {"error": ("err_sm", "err"), "refined": ("ref_sm",)}
"""The kinds that show a small output of BackgroundMattingV2, with the session's names: a network has one of them."""

CHANNELS: Final = {**{output.kind: output.channels for output in OUTPUTS}, **dict.fromkeys(MAPS, 1)}
STDOUT: Final = "-"

_OPAQUE: Final = (".mp4", ".m4v", ".mkv")
_ARGUMENTS: Final = {"mbps": "output_video_mbps"}
_TYPES: Final = (None, "video", "png_sequence")


@dataclass(frozen=True)
class Target:
    """A kind of output and its file or folder. Without an encoding, it is PNG files or raw frames."""

    kind: str
    place: Path
    encoding: Encoding | None = None
    in_folder: bool = False  # one that is made for it

    @property
    def is_raw(self) -> bool:
        return str(self.place) == STDOUT

    @property
    def output(self) -> str:
        """The name of the output in a session; of a map, its kind."""
        return KINDS.get(self.kind, self.kind)

    def open(self, facts: Facts, *, with_sound: bool, threads: int) -> Sink:
        if self.is_raw:
            return RawSink()
        if self.in_folder:
            _make_folder(self.place.parent)
        if self.encoding is None:
            return PictureSink(self.place, facts, channels=CHANNELS[self.kind], threads=threads)
        return VideoSink(self.place, self.encoding, facts, with_sound=with_sound, threads=threads)

    def replaced(self) -> list[Path]:
        """The files that may be written over."""
        if self.is_raw:
            return []
        return [self.place] if self.encoding is not None else list(numbered(self.place).values())

    def require_free(self, overwrite: bool) -> None:
        """Raise a SettingError if a file would be overwritten or its folder does not exist."""
        place = self.place
        if self.is_raw:
            return
        folder = place.parent.parent if self.in_folder else place.parent
        if not os.path.isdir(folder):
            raise SettingError(f"{place} cannot be written: there is no folder {folder}; make it first")
        if not os.path.lexists(place):
            return
        is_folder = os.path.isdir(place)
        if self.encoding is None and not is_folder:
            raise SettingError(f"{place} is a file; expected a folder for pictures, or a name like {place.stem}.mp4")
        if self.encoding is not None and is_folder:
            raise SettingError(f"{place} is a folder; expected the name of a file, like {place / 'out.mp4'}")
        try:
            taken = not is_folder or bool(os.listdir(place))
        except OSError as error:
            raise OutputError(f"the folder {place} cannot be read: {error.strerror}; choose another place") from error
        if taken and not overwrite:
            what = "has files in it" if is_folder else "exists"
            raise SettingError(
                f"{place} {what} already; choose another place, or overwrite it: {option('overwrite', True)}"
            )


def targets(
    output: Any,
    kinds: Sequence[str],
    named: dict[str, Any],
    *,
    output_type: str | None,
    has_background: bool,
    **encoding: Any,
) -> list[Target]:
    """The targets for `kinds` at `output`, and for the kinds that have their own paths."""
    if output_type not in _TYPES:
        raise SettingError(f"{option('output_type')} is {output_type!r}; expected video or png_sequence")
    found = [] if output is None else list(_placed(Path(output), kinds, output_type, has_background))
    if output is None and kinds:
        raise SettingError(f"{', '.join(kinds)} is asked for, but there is no place to write it to: {option('output')}")
    for kind, place in named.items():
        if place is not None:
            # As RVM's script does: a composition of pictures is the person cut out.
            cut_out = kind == "composite" and output_type == "png_sequence" and not has_background
            found.append(("rgba" if cut_out else kind, Path(place), False))
    made = [_target(kind, place, in_folder, output_type, encoding) for kind, place, in_folder in found]
    _require_different(made)
    return made


def _placed(
    output: Path, kinds: Sequence[str], output_type: str | None, has_background: bool
) -> Iterator[tuple[str, Path, bool]]:
    """The kinds, their paths, and whether a path is in a folder that is made for it."""
    for kind in kinds:
        if kind not in CHANNELS:
            raise SettingError(f"{option('kinds')} is {kind!r}; expected {', '.join((*KINDS, *MAPS))}")
    if not kinds:
        opaque = str(output) == STDOUT or output_type == "video" or output.suffix.lower() in _OPAQUE
        kinds = ["composite" if opaque or has_background else "rgba"]
    kinds = list(dict.fromkeys(kinds))
    for kind in kinds:
        if output_type == "video" and not output.suffix:
            yield kind, output / f"{kind}{'.mov' if kind == 'rgba' else '.mp4'}", True
        elif len(kinds) == 1 or str(output) == STDOUT:
            yield kind, output, False
        elif formats.is_video(output):
            yield kind, output.with_name(f"{output.stem}-{kind}{output.suffix}"), False
        else:
            yield kind, output / kind, True


def _target(kind: str, place: Path, in_folder: bool, output_type: str | None, encoding: dict[str, Any]) -> Target:
    is_stdout = str(place) == STDOUT
    if is_stdout or output_type == "png_sequence" or (output_type is None and not place.suffix):
        given = ", ".join(option(_ARGUMENTS.get(name, name)) for name, value in encoding.items() if value is not None)
        if given:
            what = "raw frames" if is_stdout else "PNG files"
            raise SettingError(f"{given} is given, but {place} gets {what}; leave it out, or name a video")
        return Target(kind, place, in_folder=in_folder)
    if formats.is_video(place):
        return Target(kind, place, formats.encoding(place, alpha=kind == "rgba", **encoding), in_folder)
    hint = "; for single pictures there is trtmatte image" if place.suffix.lower() in (".png", ".jpg", ".webp") else ""
    raise SettingError(
        f"{place} is no video that can be written; expected {', '.join(formats.CONTAINERS)}, or the name of a folder "
        f"without a suffix for PNG files{hint}"
    )


def _require_different(made: Sequence[Target]) -> None:
    places = [STDOUT if each.is_raw else os.path.realpath(each.place) for each in made]
    for each, place in zip(made, places, strict=True):
        if places.count(place) > 1:
            raise SettingError(f"{each.place} gets {places.count(place)} kinds of output; give each its own path")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}") from error
