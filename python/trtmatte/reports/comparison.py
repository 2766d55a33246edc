"""Compare alphas with the true ones: pictures, folders of pictures, films (`trtmatte compare`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte.errors import InputError, SettingError
from trtmatte.media import alphas, pictures
from trtmatte.media.alphas import Alpha
from trtmatte.media.places import place_of
from trtmatte.reports.measures import Measures, Region, flicker, mean_of, measure

__all__ = ["Comparison", "Row", "compare", "describe"]

_NAMED: Final = 3  # names in a message
_COLUMNS: Final = (
    ("SAD", "sad", "{:.3f}"),
    ("MSE", "mse", "{:.5f}"),
    ("MAD", "mad", "{:.5f}"),
    ("gradient", "gradient", "{:.3f}"),
    ("connectivity", "connectivity", "{:.3f}"),
    ("dtSSD", "dtssd", "{:.3f}"),
)


@dataclass(frozen=True)
class Row:
    """A picture, or a frame by its number from 0, and its measures."""

    name: str
    measures: Measures


@dataclass(frozen=True)
class Comparison:
    """The measures of each picture or frame, and their mean."""

    rows: tuple[Row, ...]
    is_film: bool = False

    @property
    def mean(self) -> Measures:
        return mean_of([row.measures for row in self.rows])

    def to_json(self) -> dict[str, Any]:
        rows = [{"name": row.name, **row.measures.to_json()} for row in self.rows]
        return {"mean": self.mean.to_json(), "frames" if self.is_film else "pictures": rows}


def compare(truth: Any, result: Any, *, trimap: Any = None, film: bool = False) -> Comparison:
    """Compare alphas with the true ones. An alpha is an alpha channel, or the grey values of what has none.

    Both are pictures (files or arrays), folders of pictures with the same names, or films. With `film`, folders hold
    the frames of films, in natural order. `trimap` is of the same kind, or one picture for all: only pixels that are
    neither black nor white in it are measured. Raises an InputError for what has no partner or differs in size.
    """
    kinds = {name: _kind(place, film) for name, place in (("TRUTH", truth), ("RESULT", result))}
    if len({*kinds.values()}) > 1:
        told = " and ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise SettingError(f"{told}; expected two pictures, two folders or two films{_hint(kinds)}")
    kind = kinds["TRUTH"]
    own = None if trimap is None else _kind(trimap, film)
    if own not in (None, _PICTURE, kind):
        raise SettingError(f"the trimap {trimap} is {own}; expected {kind}, as TRUTH is, or one picture for all")
    shared = _region(trimap) if own == _PICTURE else None
    if kind == _FILM:
        regions = map(_open_in, _planes(trimap), itertools.repeat(trimap)) if own == _FILM else itertools.repeat(shared)
        return Comparison(tuple(_frames(truth, result, regions)), is_film=True)
    if kind == _PICTURE:
        return Comparison((Row(_name(result), _measured(truth, result, shared)),))
    partners = _paired(truth, result)
    trimaps = _by_stem(trimap) if own == _FOLDER else {}
    if trimaps and (lacking := partners.keys() - trimaps.keys()):
        raise InputError(f"{trimap} has no trimap for {_some(lacking)}; expected one for each picture")
    rows = []
    for stem, (one, other) in partners.items():
        region = _region(trimaps[stem]) if trimaps else shared
        rows.append(Row(other.name, _measured(one, other, region)))
    return Comparison(tuple(rows))


def describe(found: Comparison) -> str:
    """Describe a comparison as a table: a row for each picture, and their mean. Of a film, the mean alone."""
    shown = [] if found.is_film else [(row.name, row.measures) for row in found.rows]
    if found.is_film:
        shown.append((f"{len(found.rows)} frames", found.mean))
    elif len(shown) > 1:
        shown.append(("mean", found.mean))
    columns = [each for each in _COLUMNS if getattr(found.mean, each[1]) is not None]
    cells = [["", *(title for title, _, _ in columns)]]
    cells += [[name, *(form.format(getattr(row, key)) for _, key, form in columns)] for name, row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells
    )


# ---------------------------------------------------------------------------------------------------------------------
# Pictures and frames

_PICTURE: Final = "a picture"
_FOLDER: Final = "a folder"
_FILM: Final = "a film"


def _kind(place: Any, film: bool) -> str:
    if isinstance(place, np.ndarray):
        return _PICTURE
    if isinstance(found := place_of(place), Path):
        if found.is_dir():
            return _FILM if film else _FOLDER
        if pictures.is_picture(found):
            return _PICTURE
        if not found.exists():
            raise InputError(f"there is no {place}; expected a picture, a folder of pictures or a film")
    return _FILM


def _hint(kinds: dict[str, str]) -> str:
    return "; a folder can hold the frames of a film (--film)" if {*kinds.values()} == {_FOLDER, _FILM} else ""


def _name(place: Any) -> str:
    return "the array" if isinstance(place, np.ndarray) else Path(place).name


def _alpha(place: Any) -> Alpha:
    return alphas.of_pixels(place, "the array") if isinstance(place, np.ndarray) else alphas.read(Path(place))


def _measured(truth: Any, result: Any, region: Region | None) -> Measures:
    one, other = _alpha(truth), _alpha(result)
    _require_sizes(one, other, region, _name(result))
    return measure(other, one, region)


def _require_sizes(truth: Alpha, result: Alpha, region: Region | None, name: str) -> None:
    for title, plane in (("the result", result), ("the trimap", region)):
        if plane is not None and plane.shape != truth.shape:
            raise InputError(
                f"{title} of {name} is {_size(plane)} and the truth {_size(truth)}; expected one size: resizing would "
                "change the measures"
            )


def _size(plane: Any) -> str:
    return f"{plane.shape[1]}x{plane.shape[0]}"


def _region(trimap: Any) -> Region:
    return _open_in(_alpha(trimap), trimap)


def _open_in(trimap: Alpha, name: Any) -> Region:
    """Return the pixels that a trimap leaves open."""
    unknown: Region = (trimap > 0) & (trimap < 1)
    if not unknown.any():
        raise InputError(
            f"the trimap {_name(name)} is black and white; expected grey where the alpha is to be measured"
        )
    return unknown


def _by_stem(folder: Any) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in pictures.find(folder) or []:
        if path.stem in found:
            raise InputError(
                f"{found[path.stem]} and {path.name} have one name; expected one picture of a name in a folder"
            )
        found[path.stem] = path
    return found


def _paired(truth: Any, result: Any) -> dict[str, tuple[Path, Path]]:
    """Return the pictures of both folders by name, whatever their formats."""
    one, other = _by_stem(truth), _by_stem(result)
    lacking = [
        f"{folder} has no picture like {_some(names)}"
        for folder, names in ((result, [each for each in one if each not in other]), (truth, other.keys() - one.keys()))
        if names
    ]
    if lacking:
        raise InputError(f"{'; '.join(lacking)}; expected pictures of the same names in both folders")
    return {stem: (path, other[stem]) for stem, path in one.items()}


def _some(names: Any) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


# ---------------------------------------------------------------------------------------------------------------------
# Films


def _planes(place: Any) -> Iterator[Alpha]:
    found = place_of(place)
    files = pictures.find(found) if isinstance(found, Path) and found.is_dir() else None
    return alphas.film(found) if files is None else map(alphas.read, files)


def _frames(truth: Any, result: Any, regions: Iterator[Region | None]) -> Iterator[Row]:
    before: tuple[Alpha, Alpha] | None = None
    number = 0
    planes = itertools.zip_longest(_planes(truth), _planes(result))
    for number, (one, other) in enumerate(planes):
        if one is None or other is None:
            longer, shorter = (truth, result) if other is None else (result, truth)
            raise InputError(f"{shorter} has {number} frames, and {longer} has more; expected films of one length")
        region = next(regions, None)
        name = f"frame {number}"
        _require_sizes(one, other, region, name)
        found = measure(other, one, region)
        if before is not None:
            change = flicker((before[1], other), (before[0], one), region)
            found = Measures(**{**found.to_json(), "dtssd": change})
        before = (one, other)
        yield Row(str(number), found)
