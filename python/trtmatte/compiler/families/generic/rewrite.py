"""An unknown network as a trtmatte graph: FrameSample → network → MatteUpsample, as the settings say.

Users ask for it by name, since nothing in a file says how its picture must be prepared.
"""

from __future__ import annotations

from onnx import ModelProto, ValueInfoProto

from trtmatte.compiler.families.generic.spec import NAME, Settings
from trtmatte.compiler.families.shared.alpha import Preparation, complete, isolate, network_size, the_picture
from trtmatte.compiler.families.shared.sizes import Size, checked_size, way_back
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.specialise import specialise, static_shape
from trtmatte.errors import ModelError, SettingError


def resembles(graph: Graph) -> bool:
    return False


def from_onnx(graph: Graph, size: Size, batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an ONNX file with one picture as input."""
    picture = the_picture(graph, "the generic family")
    seen = network_size(graph, picture, checked_size(settings.input_size))
    if seen is None:
        raise SettingError(
            "input_size is not given, and this ONNX file leaves the size of its picture open; state the width and "
            "height that the network was trained for"
        )
    isolate(graph, picture, _alpha(graph, picture, seen, settings.output), seen, batch)
    kept = {
        "input_size": list(seen),
        "mean": list(settings.mean),
        "std": list(settings.std),
        "method": settings.method,
    }
    preparation = Preparation(seen, settings.method, settings.mean, settings.std)
    described = Spec(NAME, "custom", size, batch, settings=kept)
    return complete(graph, described, preparation, way_back(settings.method), settings)


def _alpha(graph: Graph, picture: str, seen: Size, asked: str | None) -> str:
    """The output that was asked for, or the first of one channel."""
    if asked is not None:
        if asked not in graph.outputs:
            raise SettingError(f"output is {asked!r}; this ONNX file has {', '.join(graph.outputs)}")
        return asked
    shapes = _output_shapes(graph, picture, seen)
    for name, shape in shapes.items():
        if shape is not None and len(shape) == 4 and shape[1] == 1:
            return name
    given = ", ".join(f"{name} {list(shape) if shape else 'of unknown shape'}" for name, shape in shapes.items())
    raise ModelError(
        f"none of this ONNX file's outputs ({given}) is [batch, 1, height, width]; the generic family needs an alpha "
        "of one channel: export the model with such an output"
    )


def _output_shapes(graph: Graph, picture: str, seen: Size) -> dict[str, tuple[int, ...] | None]:
    trial = graph.copy()
    trial.outputs = {name: ValueInfoProto(name=name) for name in graph.outputs}
    specialise(trial, {picture: [1, 3, seen[1], seen[0]]})
    return {name: static_shape(trial, name) for name in graph.outputs}
