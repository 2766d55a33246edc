"""BackgroundMattingV2 as a trtmatte graph.

Refine: FrameSample twice → base network → PatchSelect → PatchCrop → refiner → PatchScatter; in the mode full as
`whole_frame` says. Base: FrameSample twice → network → GuidedUpsample with slopes of zero, which adds the residual to
the frame.

Of an official ONNX file we take the two networks, found by the shapes of their convolutions, and read off its settings.
How it crops, replaces and computes indices falls away, whichever of the original's methods it was exported with, and
with it what is wrong there for batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from trtmatte.compiler.families.bgmv2 import spec, whole_frame
from trtmatte.compiler.families.bgmv2.spec import HIDDEN, MAPS, NAME, Refinement, Settings
from trtmatte.compiler.families.shared.exporting import export
from trtmatte.compiler.graph.matching import is_bilinear, pictures, require_size
from trtmatte.compiler.graph.matte_graph import Spec, add_matte, add_patches, add_picture, add_sample, assemble
from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.compiler.graph.specialise import fold_constants, specialise, static_shape
from trtmatte.errors import ModelError, SettingError
from trtmatte.format.stages import FRAME, PATCHES, PLATE

if TYPE_CHECKING:
    from torch import nn

_REFINER: Final = ((24, 42), (16, 24), (12, 22), (4, 12))  # channels out and in of its four convolutions
_SMALL: Final = ("src_sm", "bgr_sm")
_WHOLE: Final = ("src", "bgr")


def resembles(graph: Graph) -> bool:
    """No other family takes two pictures."""
    return len(pictures(graph)) == 2 and bool(graph.all("Conv"))


def from_onnx(graph: Graph, size: tuple[int, int], batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of an official ONNX file, of any mode and method."""
    fold_constants(graph)
    first = _convolution(graph, None, sum(MAPS[:2]) + 2, "the backbone's first convolution")
    last = _convolution(graph, sum(MAPS), None, "the decoder's last convolution")
    refiner = _refiner(graph)
    has_refiner = refiner is not None
    refines = spec.refines(has_refiner, settings)
    refiner = refiner if refines else None
    found = None if refiner is None else _read_refinement(graph, refiner[0])
    sources = _sources(graph, first)
    for source in sources:
        require_size(graph, source, size, batch)
    _reconnect(graph, last.output[0], refiner)
    small = _small_size(graph, sources[0], size, batch)
    _cut_sources(graph, sources)
    if settings.backbone_scale is not None or refines != has_refiner:
        small = spec.small_size(size, settings.backbone_scale or 1.0)
    return _complete(graph, _variant(graph), size, batch, small, found, settings)


def from_network(network: nn.Module, name: str, size: tuple[int, int], batch: int, settings: Settings) -> ModelProto:
    """The trtmatte graph of a checkpoint's network."""
    refines = spec.refines("_refine_" in name, settings)
    scale = settings.backbone_scale or (0.25 if refines else 1.0)
    small = spec.small_size(size, scale)
    shape = [batch, 3, small[1], small[0]]
    graph = export(network, "coarse", dict.fromkeys(_SMALL, shape), ["pha_sm", "residual", "err_sm", "hid"])
    found = None
    if refines:
        kernel = int(network.refiner.conv1.kernel_size[0])  # type: ignore[union-attr, index]
        found = Refinement(kernel)
        half, full = (8, 8) if kernel == 3 else (2, 4)
        crops: dict[str, list[int | str]] = {
            "half": [PATCHES, HIDDEN + 10, half, half],
            "full": [PATCHES, 6, full, full],
        }
        patches = export(network, "refine_patches", crops, ["patches"])
        _connect_refiner(patches, _refiner(patches) or [])
        graph.absorb(patches)
    return _complete(graph, name.rsplit("_", 1)[1], size, batch, small, found, settings)


def _complete(
    graph: Graph,
    backbone: str,
    size: tuple[int, int],
    batch: int,
    small: tuple[int, int],
    found: Refinement | None,
    settings: Settings,
) -> ModelProto:
    """Put the ops around the networks, which make `pha_sm`, `residual`, `err_sm`, `hid` and `patches`."""
    kind = "base" if found is None else "refine"
    used = None if found is None else spec.refinement(found, settings)
    outputs = ("pha_sm", "fgr_sm", "err_sm", "ref_sm") if used else ("err", "hid") if settings.hidden else ("err",)
    described = Spec(NAME, f"{kind}_{backbone}", size, batch, (), outputs, _settings(small, size, used))
    if used and (size[0] % 4 or size[1] % 4):
        raise SettingError(f"size is {size[0]}x{size[1]}; BackgroundMattingV2 refines frames whose sides 4 divides")
    graph.inputs.clear()
    graph.outputs.clear()
    whole = used is not None and used.mode == "full"
    for picture, sample, all_of_it in zip((FRAME, PLATE), _SMALL, _WHOLE, strict=True):
        add_picture(graph, picture, described)
        add_sample(graph, picture, all_of_it if whole else sample, described, size if whole else small)
        if whole:
            whole_frame.add_shrink(graph, all_of_it, sample, batch, small)
    if used is None:
        graph.rename("err_sm", "err")
        _end_without_patches(graph, described, ["residual", "pha_sm"])
        return assemble(graph, described)
    graph.add("Concat", ["hid", "pha_sm", "residual"], "maps", axis=1)
    residual = graph.add("Add", ["residual", "src_sm"])
    zero, one = (graph.add_constant(np.array(value, np.float32), "limit") for value in (0, 1))
    graph.add("Clip", [residual, zero, one], "fgr_sm")
    if whole:
        whole_frame.add_ref(graph, batch, size)
        whole_frame.add_surroundings(graph, _WHOLE, batch, size, used.kernel)
        channels = graph.add_constant(np.array([1, 3], np.int64), "channels")
        graph.add("Split", ["patches", channels], "refined_alpha", "refined_residual", axis=1)
        _end_without_patches(graph, described, ["refined_residual", "refined_alpha"])
    else:
        _end_with_patches(graph, described, used)
    return assemble(graph, described)


def _end_without_patches(graph: Graph, described: Spec, matte: list[str]) -> None:
    graph.add("Concat", matte, "b", axis=1)
    graph.add("Mul", ["b", graph.add_constant(np.array(0, np.float32), "zero")], "A")
    graph.outputs = {name: ValueInfoProto(name=name) for name in ("A", "b", *described.outputs)}
    specialise(graph, {})
    graph.outputs = {name: graph.outputs[name] for name in described.outputs}
    add_matte(graph, "GuidedUpsample", [FRAME, "A", "b"], described)


def _end_with_patches(graph: Graph, described: Spec, used: Refinement) -> None:
    graph.add("Concat", ["pha_sm", "residual"], "coarse", axis=1)
    add_patches(graph, described, used.kernel, used.selection())
    wanted = (*described.outputs, "coarse", "patches", "indices")
    graph.outputs = {name: ValueInfoProto(name=name) for name in wanted}
    specialise(graph, {})
    # Inference loses the name of the open dimension in the refiner's Resize.
    graph.values["patches"] = helper.make_tensor_value_info("patches", TensorProto.FLOAT, [PATCHES, 4, 4, 4])
    graph.outputs = {name: graph.outputs[name] for name in described.outputs}
    add_matte(graph, "PatchScatter", ["coarse", "patches", "indices", FRAME], described)


def _settings(small: tuple[int, int], size: tuple[int, int], used: Refinement | None) -> dict[str, object]:
    settings: dict[str, object] = {"backbone_scale": small[0] / size[0]}
    if used is not None:
        settings |= {"refine_mode": used.mode, "refine_kernel_size": used.kernel}
        if used.mode == "sampling":
            settings |= {
                "refine_sample_pixels": used.sample_pixels,
                "prevent_oversampling": used.prevent_oversampling,
            }
        if used.mode == "thresholding":
            settings |= {"refine_threshold": used.threshold}
    return settings


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def _convolutions(graph: Graph, outputs: int | None, inputs: int | None) -> list[NodeProto]:
    """The convolutions over all channels that have this many."""
    found = []
    for node in graph.all("Conv"):
        weights = graph.constant(node.input[1])
        if weights is None or attributes(node).get("group", 1) != 1:
            continue
        if outputs in (None, weights.shape[0]) and inputs in (None, weights.shape[1]):
            found.append(node)
    return found


def _convolution(graph: Graph, outputs: int | None, inputs: int | None, role: str) -> NodeProto:
    found = _convolutions(graph, outputs, inputs)
    if len(found) != 1:
        channels = f"{inputs} input channels" if outputs is None else f"{outputs} output channels"
        raise ModelError(
            f"this looks like BackgroundMattingV2, since it takes two pictures, but {len(found)} convolutions have "
            f"{channels}; expected one, {role}"
        )
    return found[0]


def _refiner(graph: Graph) -> list[NodeProto] | None:
    """The refiner's four convolutions; None for a base network."""
    found = [_convolutions(graph, outputs, inputs) for outputs, inputs in _REFINER]
    if not any(found):
        return None
    for number, (nodes, (outputs, inputs)) in enumerate(zip(found, _REFINER, strict=True), 1):
        if len(nodes) != 1:
            raise ModelError(
                f"this looks like BackgroundMattingV2, but {len(nodes)} convolutions go from {inputs} to {outputs} "
                f"channels; expected one, the refiner's number {number}"
            )
    return [nodes[0] for nodes in found]


def _read_refinement(graph: Graph, first: NodeProto) -> Refinement:
    """The file's selection of patches."""
    weights = graph.constant(first.input[1])
    assert weights is not None
    kernel = int(weights.shape[2])
    compared = [graph.constant(node.input[1]) for node in graph.all("Greater")]
    limits = [float(limit.ravel()[0]) for limit in compared if limit is not None and limit.size == 1]
    for node in graph.all("TopK"):
        count = graph.constant(node.input[1])
        if count is None:
            raise ModelError("this looks like BackgroundMattingV2, but how many patches it samples is no constant")
        return Refinement(
            kernel,
            sample_pixels=int(count.ravel()[0]) * spec.PATCH**2,
            prevent_oversampling=0 in limits,
        )
    if limits:
        return Refinement(kernel, mode="thresholding", threshold=limits[0])
    return Refinement(kernel, mode="full")


def _sources(graph: Graph, first: NodeProto) -> tuple[str, str]:
    """The inputs for the frame and the plate. They are joined in this order, as they are or resized."""
    joined = graph.up(first.input[0], "Concat")
    names = []
    for name in [] if joined is None else joined.input:
        resize = graph.up(name, "Resize")
        names.append(graph.origin(name if resize is None else resize.input[0]))
    if len(names) != 2 or not set(names) <= graph.inputs.keys():
        raise ModelError(
            "this looks like BackgroundMattingV2, but its backbone does not see the two pictures joined; expected "
            "the frame and the plate, resized or not, joined to 6 channels"
        )
    return names[0], names[1]


# ---------------------------------------------------------------------------------------------------------------------
# Cutting


def _reconnect(graph: Graph, maps: str, refiner: list[NodeProto] | None) -> None:
    """End the base network after its last convolution, and let the refiner read `half` and `full`."""
    names = [graph.fresh(name) for name in ("alpha", "residual", "error", "hidden")]
    split = graph.add_constant(np.array(MAPS, np.int64), "channels")
    graph.add("Split", [maps, split], *names, axis=1)
    zero, one = (graph.add_constant(np.array(value, np.float32), "limit") for value in (0, 1))
    outputs = {
        "pha_sm": graph.add("Clip", [names[0], zero, one]),
        "residual": names[1],
        "err_sm": graph.add("Clip", [names[2], zero, one]),
        "hid": graph.add("Relu", [names[3]]),
    }
    if refiner is not None:
        outputs["patches"] = refiner[-1].output[0]
    graph.outputs = {name: ValueInfoProto(name=name) for name in outputs.values()}
    for wanted, name in outputs.items():
        graph.rename(name, wanted)
    if refiner is not None:
        _connect_refiner(graph, refiner)
    graph.prune()


def _connect_refiner(graph: Graph, refiner: list[NodeProto]) -> None:
    """Let the refiner read `half` and `full`, for any sizes that it was exported for."""
    first, _, third, _ = refiner
    joined = graph.up(third.input[0], "Concat")
    doubled = None if joined is None else graph.up(joined.input[0], "Resize")
    if doubled is None:
        raise ModelError(
            "this looks like BackgroundMattingV2, but its refiner's third convolution does not see the second's "
            "result in double size joined with the full pictures"
        )
    for name in ("half", "full"):
        graph.rename(name, graph.fresh(name))
    first.input[0] = "half"
    factors = graph.add_constant(np.array([1, 1, 2, 2], np.float32), "factors")
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    larger = graph.add("Resize", [doubled.input[0], "", factors], **settings)
    third.input[0] = graph.add("Concat", [larger, "full"], axis=1)
    graph.prune()


def _small_size(graph: Graph, source: str, size: tuple[int, int], batch: int) -> tuple[int, int]:
    """The size to which the file resizes a frame of this size, computed as the file does."""
    resizes = [node for node in graph.consumers(source) if node.op_type == "Resize"]
    if not resizes:
        return size
    probe, output = graph.copy(), resizes[0].output[0]
    probe.outputs = {output: ValueInfoProto(name=output)}
    specialise(probe, {source: [batch, 3, size[1], size[0]]})
    shape = static_shape(probe, output)
    if shape is None:
        raise ModelError(
            f"this looks like BackgroundMattingV2, but the size to which {source} is resized follows from more than "
            "its own"
        )
    return shape[3], shape[2]


def _cut_sources(graph: Graph, sources: tuple[str, str]) -> None:
    """Remove the two resizes, if there are any. The network's small pictures are then called `src_sm` and `bgr_sm`."""
    for source, name in zip(sources, _SMALL, strict=True):
        readers = [node for node in graph.consumers(source) if node.op_type != "Shape"]
        resizes = [node for node in readers if node.op_type == "Resize"]
        if not resizes:
            graph.rename(source, name)
            continue
        if len(readers) > 1 or not is_bilinear(resizes[0]):
            kinds = ", ".join(node.op_type for node in readers)
            raise ModelError(
                f"this looks like BackgroundMattingV2, but {source} is read by {kinds}; expected one bilinear Resize"
            )
        graph.nodes.remove(resizes[0])
        graph.rename(resizes[0].output[0], name)


def _variant(graph: Graph) -> str:
    """The backbone, by how many convolutions there are."""
    if any(attributes(node).get("group", 1) > 1 for node in graph.all("Conv")):
        return "mobilenetv2"
    return "resnet101" if len(graph.all("Conv")) > 90 else "resnet50"
