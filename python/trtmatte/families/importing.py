"""One entry for every model file: `read` recognises the family by what is in the file and gives its trtmatte graph."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from onnx import ModelProto

from trtmatte.errors import ModelError, SettingError
from trtmatte.graph import reading
from trtmatte.graph.graph import Graph
from trtmatte.graph.matching import pictures

FAMILIES: Final = ("rvm", "bgmv2", "modnet", "u2net", "generic")
"""In the order in which an ONNX graph is held against them. The last, generic, has to be asked for by name."""


def read(
    path: str | Path,
    *,
    family: str | None = None,
    size: tuple[int, int] = (1920, 1080),
    batch: int = 1,
    **settings: Any,
) -> ModelProto:
    """The trtmatte graph of an ONNX file or a checkpoint, for frames of `size` (width and height).

    `settings` are those of the family; a name that it does not know is a SettingError.
    """
    path = Path(path)
    if min(size) < 1 or batch < 1:
        raise SettingError(f"size is {size[0]}x{size[1]} and batch is {batch}; expected at least 1x1 and 1")
    if is_onnx(path):
        graph = reading.load(path)
        family = family or recognise(graph)
        rewrite, chosen = _family(family, settings)
        model: ModelProto = rewrite.from_onnx(graph, size, batch, chosen)
        return model
    from trtmatte.families import checkpoint

    network, name = checkpoint.load_network(path)
    found = "bgmv2" if name.startswith("matte_") else name.split("_")[0].removesuffix("p")
    if family not in (None, found):
        raise ModelError(f"{path} is a checkpoint of {name}, not of the family {family}; leave the family out")
    rewrite, chosen = _family(found, settings)
    model = rewrite.from_network(network, name, size, batch, chosen)
    return model


def recognise(graph: Graph) -> str:
    """The family that an ONNX graph belongs to."""
    for family in FAMILIES:
        if _module(family, "rewrite").resembles(graph):
            return family
    raise ModelError(
        f"this ONNX model is of no family that trtmatte knows ({', '.join(FAMILIES[:-1])}): it has "
        f"{len(pictures(graph))} pictures among its inputs {', '.join(graph.inputs) or 'none'} and gives "
        f"{', '.join(graph.outputs)}. If it makes an alpha of one picture, ask for the family generic, with "
        "input_size, mean and std as it was trained"
    )


def is_onnx(path: Path) -> bool:
    """An ONNX file begins with its format's version, which no checkpoint does."""
    try:
        with path.open("rb") as file:
            return path.suffix == ".onnx" or file.read(1) == b"\x08"
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error


def _family(family: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The family's rewriter, and its settings checked for their names."""
    if family not in FAMILIES:
        raise SettingError(f"family is {family!r}; expected one of {', '.join(FAMILIES)}")
    kind = _module(family, "spec").Settings
    known = [field.name for field in fields(kind)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise SettingError(f"{family} has no setting {', '.join(unknown)}; it has {', '.join(known)}")
    return _module(family, "rewrite"), kind(**settings)


def _module(family: str, name: str) -> Any:
    return importlib.import_module(f"trtmatte.families.{family}.{name}")
