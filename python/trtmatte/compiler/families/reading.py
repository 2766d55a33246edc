"""Reading any model file: `read` recognises the family from the content and returns the trtmatte graph."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from trtmatte.compiler.families import registry
from trtmatte.compiler.families.registry import Family
from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.matching import pictures
from trtmatte.compiler.graph.onnx_graph import Graph, shape_of
from trtmatte.errors import ModelError, SettingError, TrtmatteError
from trtmatte.support.text import shown

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["is_onnx", "read", "read_weights", "recognise"]


def read(
    path: str | Path,
    *,
    family: str | None = None,
    size: tuple[int, int] = (1920, 1080),
    batch: int = 1,
    self_contained: bool = False,
    **settings: Any,
) -> ModelProto:
    """The trtmatte graph of an ONNX file or a checkpoint, for frames of `size` (width and height).

    `settings` are those of the family. A name that it does not have raises a SettingError. With `self_contained`, an
    ONNX file must have its weights inside. `compiler.importing.read` does the same for files of strangers.
    """
    path = Path(path)
    if min(size) < 1 or batch < 1:
        raise SettingError(f"size is {size[0]}x{size[1]} and batch is {batch}; expected at least 1x1 and 1")
    if is_onnx(path):
        try:
            graph = reading.load(path, self_contained=self_contained)
            chosen = registry.family(family) if family is not None else recognise(graph, path)
            return chosen.from_onnx(graph, size, batch, chosen.checked(settings))
        except TrtmatteError:
            raise
        except Exception as error:  # a pass, numpy or onnx met what no valid model of the family has
            reason = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
            raise ModelError(f"{path} is not what its nodes promise ({shown(reason)}); export it again") from error
    from trtmatte.compiler.families import checkpoint

    return _of_network(*checkpoint.load_network(path), str(path), family, size, batch, settings)


def read_weights(
    state: Mapping[str, Tensor],
    source: str,
    *,
    family: str | None = None,
    size: tuple[int, int] = (1920, 1080),
    batch: int = 1,
    **settings: Any,
) -> ModelProto:
    """The trtmatte graph of weights in memory, as `read` returns it for a file."""
    from trtmatte.compiler.families import checkpoint

    return _of_network(*checkpoint.network_of(state, source), source, family, size, batch, settings)


def _of_network(
    network: nn.Module,
    variant: str,
    source: str,
    family: str | None,
    size: tuple[int, int],
    batch: int,
    settings: Mapping[str, Any],
) -> ModelProto:
    chosen = registry.variants()[variant]
    if family not in (None, chosen.name):
        raise ModelError(f"{source} has the weights of {variant}, not of the family {family}; leave the family out")
    return chosen.from_network(network, variant, size, batch, chosen.checked(settings))


def recognise(graph: Graph, path: Path = Path("MODEL.onnx")) -> Family:
    """The family that an ONNX graph belongs to. `path` is that of its file, for the error if it is of none."""
    for family in registry.families():
        if family.resembles(graph):
            return family
    known = [family.name for family in registry.families() if family.is_recognised]
    raise ModelError(
        f"this ONNX model is of no family that trtmatte knows ({', '.join(known)}): it has "
        f"{len(pictures(graph))} pictures among its inputs {', '.join(graph.inputs) or 'none'} and gives "
        f"{', '.join(graph.outputs)}. {_remedy(graph, path)}"
    )


def _remedy(graph: Graph, path: Path) -> str:
    """The way out for a model of no known family, in words."""
    found, file = pictures(graph), shlex.quote(str(path))
    if len(found) != 1 or len(graph.inputs) != 1:
        return f"An engine takes one picture and gives one alpha; to time any other network: trtmatte bench {file}"
    shape = shape_of(graph.inputs[found[0]]) or ()
    height, width = (side if isinstance(side, int) and side > 0 else 512 for side in shape[-2:])
    return (
        f"If it makes an alpha of one picture: trtmatte-build {file} --family generic --input-size {width}x{height} "
        "--set mean=0.5,0.5,0.5 --set std=0.5,0.5,0.5, with the numbers that it was trained with. Commands with "
        f'--model take the same flags, Python takes family="generic", input_size=({width}, {height}), mean=…, std=…'
    )


def is_onnx(path: Path) -> bool:
    """Report if this is an ONNX file: it begins with its format's version, which no checkpoint does."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} is no file; pass the path of a model")
    try:
        with path.open("rb") as file:
            return path.suffix == ".onnx" or file.read(1) == b"\x08"
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
