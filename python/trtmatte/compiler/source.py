"""The model's file: found by its path, by a recipe or by the name of a known model."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from trtmatte.compiler.families import catalog
from trtmatte.compiler.in_memory import Weights
from trtmatte.compiler.options import read_recipe
from trtmatte.errors import ModelError, SettingError
from trtmatte.models import store
from trtmatte.models.download import sha256
from trtmatte.models.model import Model
from trtmatte.support.beside import open_beside
from trtmatte.support.limits import Limits
from trtmatte.support.text import shown

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Source", "completed", "locate"]

_LOCATION: Final = b"\n\x08location\x12"  # how an ONNX file begins to name another file that holds its weights


@dataclass(frozen=True)
class Source:
    """A model's file, and the facts about it that the engine records."""

    path: Path
    about: Mapping[str, Any]
    known: Model | None = None
    """The known model that this file is."""


@overload
def locate(model: str | Path, limits: Limits | None = None) -> tuple[Source, dict[str, Any]]: ...


@overload
def locate(
    model: str | Path | nn.Module | Mapping[str, Any], limits: Limits | None = None
) -> tuple[Source | Weights, dict[str, Any]]: ...


def locate(
    model: str | Path | nn.Module | Mapping[str, Any], limits: Limits | None = None
) -> tuple[Source | Weights, dict[str, Any]]:
    """The model's file, and the options of the recipe that names it; or its weights, and the settings of its network.

    With `limits`, it must be one file within them.
    """
    if not isinstance(model, (str, Path)):
        weights = Weights.of(model)
        return weights, dict(weights.settings)
    path = Path(model)
    if path.suffix != ".toml":
        return _file(path, limits) or _known(str(model)), {}
    named, options = read_recipe(path)
    if isinstance(named, str):
        return _known(named), options
    if limits is not None and (named.parent != path.parent or named.is_symlink()):
        raise ModelError(
            f"the recipe {path} names {shown(named)}; expected a file beside it, or a known model, in safe mode"
        )
    return _file(named, limits) or _known(str(named)), options


def completed(source: Source | Weights, *options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in the order of their weight, None being none, after the settings that a known model needs."""
    given = {name: value for each in options for name, value in each.items() if value is not None}
    known = source.known if isinstance(source, Source) else None
    if known is None or given.get("family", known.family) != known.family:
        return given
    return {**known.settings, **given}


def _file(path: Path, limits: Limits | None) -> Source | None:
    """The model file at this path; None if there is none."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder; expected a model file, a recipe or the name of a known model")
    if not path.is_file():
        return None
    if limits is not None and path.stat().st_size > limits.file_bytes:
        raise ModelError(f"{path} has {path.stat().st_size} bytes; expected at most {limits.file_bytes} in safe mode")
    about = _about(path)
    if limits is not None and "other_files" in about:
        raise ModelError(
            f"{path} keeps weights in {', '.join(about['other_files'])}; expected one file in safe mode: "
            "export the model with its weights inside"
        )
    if (known := catalog.of_file(path, about["sha256"])) is not None:
        store.tell_of_licence(known)
    return Source(path, about, known)


def _known(name: str) -> Source:
    try:
        known = catalog.find(name)
    except SettingError as error:
        raise ModelError(f"there is no file {name}, and {error}") from error
    path = store.pull(known)  # checks the file against its hash, if one is known
    return Source(path, {**_about(path, known.sha256), "known_as": known.name, "licence": known.licence}, known)


def _about(path: Path, known: str | None = None) -> dict[str, Any]:
    try:
        known = known or sha256(path)
        others = {name: sha256(path.parent / name) for name in sorted(set(_other_files(path)))}
    except OSError as error:
        raise ModelError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return {"file": path.name, "sha256": known, **({"other_files": others} if others else {})}


def _other_files(path: Path) -> Iterator[str]:
    """The files beside an ONNX model that hold its weights, found without parsing the model.

    Weights could spell such a name by chance. That does no harm: the file must exist as well.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with data:
        found = data.find(_LOCATION)
        while found >= 0:
            start = found + len(_LOCATION)
            length, start = _varint(data, start)
            name = data[start : start + min(length, 4096)].decode(errors="replace")
            if _is_beside(path, name):
                yield name
            found = data.find(_LOCATION, start)


def _is_beside(path: Path, name: str) -> bool:
    try:
        os.close(open_beside(path, name))
    except (OSError, ModelError):  # reading the model raises it, if this is a name
        return False
    return True


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """A whole number as protobuf writes it, and the place where it ends."""
    value, shift = 0, 0
    while start < len(data) and shift < 64:
        byte = data[start]
        value, shift, start = value | (byte & 0x7F) << shift, shift + 7, start + 1
        if byte < 0x80:
            break
    return value, start
