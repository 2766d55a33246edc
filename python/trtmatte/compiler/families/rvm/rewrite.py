"""Robust Video Matting as a trtmatte graph: FrameSample → network with four states → A, b → GuidedUpsample.

The official ONNX file is cut in two places: at the downsampled source, and at the guided filter's A and b before they
are resized to the frame. What lies beyond is our ops' work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from onnx import ModelProto, ValueInfoProto

from trtmatte.compiler.families.rvm import spec
from trtmatte.compiler.families.rvm.spec import LEVELS, NAME, STATES, Settings, Shrink
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.graph.matching import (
    Part,
    channels,
    clamped,
    describe,
    is_bilinear,
    require_size,
    resized,
    scales,
    sizes,
)
from trtmatte.compiler.graph.matte_graph import Spec, add_matte, add_picture, add_sample, assemble
from trtmatte.compiler.graph.onnx_graph import Graph, shape_of
from trtmatte.compiler.graph.specialise import specialise
from trtmatte.errors import ModelError, SettingError
from trtmatte.format.stages import FRAME

if TYPE_CHECKING:
    from torch import nn

_SMALL = "src_sm"
_VARIANTS: Final[dict[tuple[int, ...], str]] = {(16, 20, 40, 64): "mobilenetv3", (16, 32, 64, 128): "resnet50"}


class _Unit(NamedTuple):
    """A recurrent unit: the values of its state as they come in and go out, and its channels."""

    before: str
    after: str
    channels: int


class _Tail(NamedTuple):
    """The end of the official graph. Without a refiner there is no A, and b is the matte itself."""

    source: str
    A: str | None
    b: str


def resembles(graph: Graph) -> bool:
    """Recurrent units are found in no other family."""
    return bool(graph.all("Tanh"))


def from_onnx(graph: Graph, size: tuple[int, int], batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an official ONNX file, which is honoured as it computes: it refines at every ratio."""
    if settings.segmentation:
        raise SettingError("an ONNX file has no segmentation pass; build from the checkpoint (.pth)")
    units, tail = _units(graph), _tail(graph)
    wanted = (*filter(None, (tail.A, tail.b)), *(unit.after for unit in units))
    graph.outputs = {name: ValueInfoProto(name=name) for name in dict.fromkeys(wanted)}
    ratio = spec.ratio(settings, size)
    free = _fix_ratio(graph, tail.source, units, ratio) or settings.downsample_ratio == "auto"
    require_size(graph, tail.source, size, batch)
    specialise(graph, {tail.source: [batch, 3, size[1], size[0]]})
    small = _cut_source(graph, tail.source, size, ratio, free)
    for state, unit in zip(STATES, units, strict=True):
        graph.rename(unit.before, state.input)
        graph.rename(unit.after, state.output)
    if tail.A is not None:
        graph.rename(tail.A, "A")
    graph.rename(tail.b, "b")
    return _complete(graph, size, batch, small, tuple(unit.channels for unit in units))


def from_network(network: nn.Module, variant: str, size: tuple[int, int], batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network, as PyTorch computes: without the refiner at ratio 1."""
    small = spec.shrink(size, spec.ratio(settings, size), single=False)
    width, height = small.size
    depths = next(key for key, name in _VARIANTS.items() if variant.endswith(name))
    inputs = {_SMALL: [batch, 3, height, width]}
    for level, (state, depth) in enumerate(zip(STATES, depths, strict=True), 1):
        inputs[state.input] = spec.state_shape(batch, depth, small.size, level)
    if settings.segmentation:
        method, heads = "segment", ["seg"]
    else:
        method, heads = ("foreground", ["b"]) if small.ratio == 1 else ("encode", ["A", "b"])
    graph = export(network, method, inputs, [*heads, *(state.output for state in STATES)])
    return _complete(graph, size, batch, small, depths)


def _complete(graph: Graph, size: tuple[int, int], batch: int, small: Shrink, depths: tuple[int, ...]) -> ModelProto:
    """Puts the ops around the network."""
    segmentation = "seg" in graph.outputs
    described = Spec(
        NAME,
        _VARIANTS.get(depths, "custom"),
        size,
        batch,
        STATES,
        ("seg",) if segmentation else (),
        {"downsample_ratio": small.ratio},
    )
    graph.inputs.pop(_SMALL, None)
    add_picture(graph, FRAME, described)
    add_sample(graph, FRAME, _SMALL, described, small.size, small.step)
    if "b" in graph.outputs and "A" not in graph.outputs:
        zero = graph.add_constant(np.array(0, np.float32), "zero")
        graph.outputs["A"] = ValueInfoProto(name=graph.add("Mul", ["b", zero], "A"))
    specialise(
        graph,
        {
            state.input: spec.state_shape(batch, depth, small.size, level)
            for level, (state, depth) in enumerate(zip(STATES, depths, strict=True), 1)
        },
    )
    if not segmentation:
        for name in ("A", "b"):
            graph.outputs.pop(name)
        add_matte(graph, "GuidedUpsample", [FRAME, "A", "b"], described)
    return assemble(graph, described)


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _units(graph: Graph) -> list[_Unit]:
    """The recurrent units, the one over the largest maps first."""
    units = [unit for unit in (_unit(graph, node.output[0]) for node in graph.all("Tanh")) if unit is not None]
    if len(units) != LEVELS:
        raise ModelError(f"this looks like RVM, but has {len(units)} convolutional GRUs; expected {LEVELS}")
    units.reverse()
    for level, unit in enumerate(units, 1):
        if unit.before not in graph.inputs:
            raise ModelError(
                f"this looks like RVM, but the state of recurrent unit {level} is {describe(graph, unit.before)}; "
                f"expected an input of the model: export it again with all {LEVELS} states as inputs"
            )
        if not any(graph.origin(name) == unit.after for name in graph.outputs):
            raise ModelError(
                f"this looks like RVM, but the new state of recurrent unit {level} ({unit.after}) is no output; "
                f"export it again with all {LEVELS} states as outputs"
            )
    if len({unit.before for unit in units}) != LEVELS:
        raise ModelError("this looks like RVM, but two recurrent units share one state; expected one input for each")
    return units


def _unit(graph: Graph, candidate: str) -> _Unit | None:
    """`after = (1 - z) * before + z * candidate`"""
    convolution = graph.up(graph.up(candidate, "Tanh").input[0], "Conv")  # type: ignore[union-attr]
    weights = None if convolution is None else graph.constant(convolution.input[1])
    for product in graph.down(candidate):
        if product.op_type != "Mul":
            continue
        update = graph.origin(graph.other_input(product, candidate))
        for total in graph.down(product.output[0]):
            kept = graph.up(graph.other_input(total, product.output[0]), "Mul") if total.op_type == "Add" else None
            before = None if kept is None else _complement(graph, list(kept.input), update)
            if before is not None and weights is not None:
                return _Unit(_spread(graph, before), total.output[0], weights.shape[0])
    return None


def _complement(graph: Graph, factors: list[str], update: str) -> str | None:
    """Of two factors, the one beside `1 - update`."""
    for factor, other in (factors, factors[::-1]):
        node = graph.up(factor, "Sub")
        if node is not None and graph.is_constant(node.input[0], 1) and graph.origin(node.input[1]) == update:
            return other
    return None


def _spread(graph: Graph, name: str) -> str:
    """The state before it is expanded from 1x1."""
    node = graph.up(name, "Expand")
    return graph.origin(name if node is None else node.input[0])


def _tail(graph: Graph) -> _Tail:
    """Walks up from the two clamped outputs."""
    parts: dict[int, tuple[Part, str | None]] = {}
    for name in graph.outputs:
        before = clamped(graph, name)
        if before is None:
            continue
        part, source = channels(graph, before), None
        total = graph.up(before, "Add")
        if part is None and total is not None:
            part, source = _residual(graph, list(total.input))
        if part is not None:
            parts[part.start] = (part, source)
    if not {0, 3} <= parts.keys() or parts[0][0].source != parts[3][0].source or parts[0][1] is None:
        raise ModelError(
            "this looks like RVM, but its outputs are not; expected fgr = clamp(channels 0-2 + source) and "
            "pha = clamp(channel 3) of one tensor"
        )
    matte, source = graph.origin(parts[0][0].source), parts[0][1]
    return _guided(graph, matte, source) or _Tail(source, None, matte)


def _residual(graph: Graph, addends: list[str]) -> tuple[Part | None, str | None]:
    """Of two addends, channels of the matte and the source."""
    for addend, other in (addends, addends[::-1]):
        if graph.origin(other) in graph.inputs:
            return channels(graph, addend), graph.origin(other)
    return None, None


def _guided(graph: Graph, matte: str, source: str) -> _Tail | None:
    """`matte = resized(A) * cat(source, mean of source) + resized(b)`"""
    total = graph.up(matte, "Add")
    if total is None:
        return None
    for product_name, b in (list(total.input), list(total.input)[::-1]):
        product = graph.up(product_name, "Mul")
        for A, guide in () if product is None else (list(product.input), list(product.input)[::-1]):
            joined = graph.up(guide, "Concat")
            if joined is None or [graph.origin(joined.input[0]), len(joined.input)] != [source, 2]:
                continue
            mean = graph.up(joined.input[1], "ReduceMean")
            if mean is not None and graph.origin(mean.input[0]) == source:
                return _Tail(source, graph.origin(resized(graph, A)), graph.origin(resized(graph, b)))
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Cutting


def _fix_ratio(graph: Graph, source: str, units: list[_Unit], ratio: float) -> bool:
    """Gives the ratio input its value. False where the file has no such input since its ratio was folded in."""
    others = [name for name in graph.inputs if name not in {source, *(unit.before for unit in units)}]
    if len(others) > 1:
        raise ModelError(
            f"this looks like RVM, but has the inputs {', '.join(others)} besides the source and the states; "
            "expected the downsample ratio alone"
        )
    for name in others:
        rank = len(shape_of(graph.inputs.pop(name)) or ())
        graph.constants[name] = np.full([1] * rank, ratio, np.float32)
        graph.changed()
    return bool(others)


def _cut_source(graph: Graph, source: str, size: tuple[int, int], ratio: float, free: bool) -> Shrink:
    """Takes the resize of the source out; its result becomes `src_sm`. A ratio not `free` must be the file's."""
    readers = graph.consumers(source)
    resizes = [node for node in readers if node.op_type == "Resize"]
    if not resizes:  # ratio 1: the network sees the frame itself
        graph.rename(source, _SMALL)
        found = Shrink(size, 1.0, spec.shrink(size, 1.0, single=True).step)
    else:
        others = [node.op_type for node in readers if node.op_type != "Resize"]
        if others or len(resizes) > 1 or not is_bilinear(resizes[0]):
            kinds = ", ".join(node.op_type for node in readers)
            raise ModelError(f"this looks like RVM, but its source is read by {kinds}; expected one bilinear Resize")
        found = _read_resize(graph, resizes[0].output[0], size)
        graph.nodes.remove(resizes[0])
        graph.inputs.pop(source)
        graph.rename(resizes[0].output[0], _SMALL)
    if not free and abs(found.ratio - ratio) > 1e-3:
        raise SettingError(
            f"downsample_ratio is {ratio:g}, but this ONNX file has {found.ratio:g} folded in; leave it out, "
            "or use a file with the ratio as an input"
        )
    return found


def _read_resize(graph: Graph, output: str, size: tuple[int, int]) -> Shrink:
    node = graph.producer(output)
    assert node is not None
    factors, target = scales(graph, node), sizes(graph, node)
    if factors is not None and factors.size == 4 and factors[2] == factors[3]:
        return spec.shrink(size, float(factors[2]), single=True)
    if target is not None and target.size == 4:
        small = (int(target[3]), int(target[2]))
        return Shrink(small, small[0] / size[0], None)
    raise ModelError("this looks like RVM, but the size of its small picture depends on more than the ratio")
