"""ONNX files as users have them: written in the official ways, and then maltreated."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import GraphProto, ModelProto
from torch import Tensor, nn

from tests.compiler.graph import deforming
from trtmatte.compiler.families.rvm.network import guide
from trtmatte.compiler.graph.ordering import subgraphs


def export(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    opset: int,
    axes: Mapping[str, Any] | None = None,
) -> ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=dict(axes or {}),
            opset_version=opset,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


# ---------------------------------------------------------------------------------------------------------------------
# RVM


class _ScaleByTensor(torch.autograd.Function):
    """Downsampling by a ratio that is fed at run time; exporters have no words for it."""

    @staticmethod
    def forward(ctx: Any, src: Tensor, ratio: Tensor) -> Tensor:
        return F.interpolate(
            src, scale_factor=float(ratio), mode="bilinear", align_corners=False, recompute_scale_factor=False
        )

    @staticmethod
    def symbolic(g: Any, src: Any, ratio: Any) -> Any:
        ones = g.op("Constant", value_t=torch.ones(2))
        scales = g.op("Concat", ones, ratio, ratio, axis_i=0)
        empty = g.op("Constant", value_t=torch.zeros(0))
        mode = {"mode_s": "linear", "coordinate_transformation_mode_s": "pytorch_half_pixel"}
        return g.op("Resize", src, empty, scales, **mode).setType(src.type().with_sizes([None, 3, None, None]))


class OfficialRvm(nn.Module):
    """The graph of RVM's ONNX line: the ratio is a tensor, the refiner always runs, A and b are resized by size."""

    def __init__(self, network: Any, refines: bool = True) -> None:
        super().__init__()
        self.network, self.refines = network, refines

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor, ratio: Tensor | None = None) -> Any:
        small = src if ratio is None else _ScaleByTensor.apply(src, ratio)
        if self.refines:
            A, b, *states = self.network.encode(small, r1, r2, r3, r4)
            A, b = (F.interpolate(x, src.shape[2:], mode="bilinear", align_corners=False) for x in (A, b))
            y = A * guide(src) + b
        else:
            y, *states = self.network.foreground(small, r1, r2, r3, r4)
        residual, pha = y.split([3, 1], dim=-3)
        return ((residual + src).clamp(0, 1), pha.clamp(0, 1), *states)


RVM_OUTPUTS = ("fgr", "pha", "r1o", "r2o", "r3o", "r4o")


def rvm(network: Any, opset: int = 12, *, ratio: bool = True, refines: bool = True) -> ModelProto:
    """RVM's official export; without `ratio` one for ratio 1, which sees the frame itself."""
    inputs = {"src": torch.rand(1, 3, 64, 96)}
    inputs |= {f"r{level}i": torch.zeros(1, 1, 1, 1) for level in range(1, 5)}
    if ratio:
        inputs["downsample_ratio"] = torch.tensor([0.5])
    open_axes = {0: "batch_size", 2: "height", 3: "width"}
    axes = dict.fromkeys(("src", "fgr", "pha"), open_axes)
    axes |= {name: {**open_axes, 1: "channels"} for name in inputs if name.startswith("r")}
    axes |= dict.fromkeys(RVM_OUTPUTS[2:], open_axes)
    return export(OfficialRvm(network, refines), inputs, RVM_OUTPUTS, opset, axes)


# ---------------------------------------------------------------------------------------------------------------------
# BackgroundMattingV2


class _RoiAlign(torch.autograd.Function):
    """The crop of squares whose samples all fall on pixel centres."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rois: Tensor, images: Tensor, side: int, opset: int) -> Tensor:
        corners = (rois[:, :2] + 0.5).long()
        span = torch.arange(side)
        rows = corners[:, 1].view(-1, 1, 1) + span.view(-1, 1)
        columns = corners[:, 0].view(-1, 1, 1) + span
        return x.permute(0, 2, 3, 1)[images.view(-1, 1, 1), rows, columns].permute(0, 3, 1, 2)

    @staticmethod
    def symbolic(g: Any, x: Any, rois: Any, images: Any, side: int, opset: int) -> Any:
        settings: dict[str, Any] = {"output_height_i": side, "output_width_i": side}
        if opset >= 16:  # before, there was no other mode
            settings["coordinate_transformation_mode_s"] = "output_half_pixel"
        return g.op("RoiAlign", x, rois, images, **settings, sampling_ratio_i=1, spatial_scale_f=1.0)


class OfficialBgmv2(nn.Module):
    """The graph that BackgroundMattingV2's exporter writes, with its methods of cropping and replacing patches."""

    def __init__(self, network: Any, crop: str, replace: str, opset: int) -> None:
        super().__init__()
        self.network, self.crop, self.replace, self.opset = network, crop, replace, opset

    def forward(self, src: Tensor, bgr: Tensor) -> Any:
        network = self.network
        if not hasattr(network, "refiner"):
            pha, residual, err, hid = self._coarse(src, bgr)
            return pha, (residual + src).clamp(0, 1), err, hid
        src_sm, bgr_sm = (network._shrink(x) for x in (src, bgr))
        pha_sm, residual_sm, err_sm, hid_sm = self._coarse(src_sm, bgr_sm)
        height, width = src.shape[2] // 4, src.shape[3] // 4
        if network.refine_mode == "full":
            ref = torch.ones(src.shape[0], 1, height, width)
            maps = torch.cat([hid_sm, pha_sm, residual_sm], 1)
            matte = network._refine(maps, torch.cat([src, bgr], 1), ref)
        else:
            ref = self._select(F.interpolate(err_sm, (height, width), mode="bilinear", align_corners=False))
            matte = self._patches(src, bgr, pha_sm, residual_sm, hid_sm, ref)
        pha, residual = matte[:, :1].clamp(0, 1), matte[:, 1:]
        fgr_sm = (src_sm + residual_sm).clamp(0, 1)
        return pha, (residual + src).clamp(0, 1), pha_sm, fgr_sm, err_sm, ref

    def _coarse(self, src: Tensor, bgr: Tensor) -> tuple[Tensor, ...]:
        """With the clamps in place, which an exporter turns into writes to the 37 channels."""
        pair = torch.cat([src, bgr], 1)
        half, quarter, eighth, deepest = self.network.backbone(pair)
        maps = self.network.decoder(self.network.aspp(deepest), eighth, quarter, half, pair)
        pha = maps[:, 0:1].clamp_(0, 1)
        residual = maps[:, 1:4]
        err = maps[:, 4:5].clamp_(0, 1)
        return pha, residual, err, maps[:, 5:].relu()

    def _select(self, err: Tensor) -> Tensor:
        network = self.network
        if network.refine_mode == "thresholding":
            return err.gt(network.refine_threshold).float()
        flat = err.reshape(err.shape[0], -1)
        places = flat.topk(network.refine_sample_pixels // 16, dim=1, sorted=False).indices
        ref = torch.zeros_like(flat).scatter(1, places, 1.0)
        if network.prevent_oversampling:
            ref = ref * flat.gt(0).float()
        return ref.view_as(err)

    def _patches(self, src: Tensor, bgr: Tensor, pha: Tensor, residual: Tensor, hid: Tensor, ref: Tensor) -> Tensor:
        refiner = self.network.refiner
        where = torch.nonzero(ref.squeeze(1), as_tuple=True)
        pair = torch.cat([src, bgr], 1)
        size = (src.shape[2] // 2, src.shape[3] // 2)
        near = [
            F.interpolate(x, size, mode="bilinear", align_corners=False)
            for x in (torch.cat([hid, pha, residual], 1), pair)
        ]
        crops = [self._cut(x, where, 2, refiner.half_halo) for x in near]
        crops.append(self._cut(pair, where, 4, refiner.full_halo))
        x = F.relu(refiner.bn1(refiner.conv1(torch.cat(crops[:2], 1))))
        x = F.relu(refiner.bn2(refiner.conv2(x)))
        side = 4 + 2 * refiner.full_halo
        x = F.interpolate(x, (side, side))
        x = F.relu(refiner.bn3(refiner.conv3(torch.cat([x, crops[2]], 1))))
        canvas = F.interpolate(torch.cat([pha, residual], 1), src.shape[2:], mode="bilinear", align_corners=False)
        return self._put(canvas, where, refiner.conv4(x))

    def _cut(self, x: Tensor, where: tuple[Tensor, ...], size: int, pad: int) -> Tensor:
        x = F.pad(x, (pad,) * 4) if pad else x
        image, row, column = where
        side = size + 2 * pad
        if self.crop == "gather":
            return torch.gather(x.reshape(-1), 0, self._pixels(x, where, size, side).reshape(-1)).view(
                -1, x.shape[1], side, side
            )
        left, top = column.float() * size - 0.5, row.float() * size - 0.5
        boxes = torch.stack([image.float(), left, top, left + side, top + side], 1)
        return _RoiAlign.apply(x, boxes[:, 1:], boxes[:, 0].long(), side, self.opset)

    def _put(self, canvas: Tensor, where: tuple[Tensor, ...], patches: Tensor) -> Tensor:
        if self.replace == "scatter_element":
            pixels = self._pixels(canvas, where, 4, 4).reshape(-1)
            return canvas.reshape(-1).scatter(0, pixels, patches.reshape(-1)).view_as(canvas)
        batch, channels, height, width = canvas.shape
        grid = canvas.view(batch, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 1, 3, 5)
        return grid.index_put(where, patches).permute(0, 3, 1, 4, 2, 5).reshape(canvas.shape)

    def _pixels(self, x: Tensor, where: tuple[Tensor, ...], size: int, side: int) -> Tensor:
        """Places in the flat tensor; from image to image it steps by one plane, which is wrong beyond the first."""
        _, channels, height, width = x.shape
        span = torch.arange(side)
        inside = torch.arange(channels).view(-1, 1, 1) * height * width + span.view(1, -1, 1) * width + span
        image, row, column = where
        first = image * height * width + row * width * size + column * size
        return first.view(-1, 1, 1, 1) + inside


def bgmv2(
    network: Any,
    size: tuple[int, int],
    opset: int = 12,
    *,
    crop: str = "roi_align",
    replace: str = "scatter_nd",
    batch: int = 1,
    dynamic: bool = True,
) -> ModelProto:
    """BackgroundMattingV2's official export, traced at `size`, a width and a height."""
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.rand((batch, 3, size[1], size[0]), generator=generator) for name in ("src", "bgr")}
    refines = hasattr(network, "refiner")
    outputs = ("pha", "fgr", "pha_sm", "fgr_sm", "err_sm", "ref_sm") if refines else ("pha", "fgr", "err", "hid")
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in (*inputs, *outputs)} if dynamic else None
    return export(OfficialBgmv2(network, crop, replace, opset), inputs, outputs, opset, axes)


# ---------------------------------------------------------------------------------------------------------------------
# What happens to files


def renamed(model: ModelProto) -> ModelProto:
    """Every value, input, output and node under a name that says nothing, and the outputs in another order."""
    names: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    def rename(graph: GraphProto) -> None:
        for node in graph.node:
            node.name = ""
            node.input[:] = [new(name) for name in node.input]
            node.output[:] = [new(name) for name in node.output]
            for body in subgraphs(node):
                rename(body)
        for each in (*graph.initializer, *graph.input, *graph.output):
            each.name = new(each.name)
        del graph.value_info[:]

    graph = model.graph
    rename(graph)
    outputs = list(graph.output)[::-1]
    del graph.output[:]
    graph.output.extend(outputs)
    return model


def simplified(model: ModelProto, folder: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> ModelProto:
    """Constants folded and idle nodes removed by another tool; with `shapes` for inputs of fixed sizes."""
    for value in model.graph.input:
        if shapes and value.name in shapes:
            for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
                dimension.dim_value = size
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "simplified.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def halved(model: ModelProto) -> ModelProto:
    """In float16, inputs and outputs included, with casts around what the converter leaves in float32."""
    from onnxruntime.transformers import float16, onnx_model

    converted = onnx_model.OnnxModel(float16.convert_float_to_float16(model, keep_io_types=False))
    converted.topological_sort()
    return converted.model


def with_constant_input(model: ModelProto, name: str, value: Any) -> ModelProto:
    """An input becomes a constant."""
    kept = [each for each in model.graph.input if each.name != name]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), name))
    return model


# ---------------------------------------------------------------------------------------------------------------------
# BiRefNet


class OfficialBirefnet(nn.Module):
    """The graph of BiRefNet's official files, which end with the logits; `levels` adds the decoder's coarse ones."""

    def __init__(self, network: Any, alpha: bool, levels: bool) -> None:
        super().__init__()
        self.network, self.alpha, self.levels = network, alpha, levels
        self.coarse: list[Tensor] = []
        if levels:
            for number in (4, 3, 2):
                block = network.decoder.get_submodule(f"decoder_block{number}")
                block.register_forward_hook(lambda module, given, made: self.coarse.append(made[:, :1]))

    def forward(self, image: Tensor) -> Any:
        self.coarse.clear()
        logits = self.network(image)
        result = torch.sigmoid(logits) if self.alpha else logits
        return (*self.coarse, result) if self.levels else result


def birefnet(
    network: Any, size: tuple[int, int], form: str, *, alpha: bool = False, levels: bool = False
) -> ModelProto:
    """BiRefNet's export for one size. `form`: DeformConv as "nodes" of opset 19, or as "gathers" of opset 17."""
    module = OfficialBirefnet(copy.deepcopy(network), alpha, levels)  # whose hooks are its own
    outputs = [*(f"level{number}" for number in (4, 3, 2) if levels), "output_image"]
    picture = {"input_image": torch.rand(1, 3, size[1], size[0], generator=torch.Generator().manual_seed(0))}
    model = export(module, picture, outputs, 19)
    return model if form == "nodes" else _with_gathers(model)


def _with_gathers(model: ModelProto) -> ModelProto:
    """Each DeformConv decomposed, as exporters for opset 17 do."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = {each.name: each for each in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {name: tuple(size.dim_value for size in each.type.tensor_type.shape.dim) for name, each in values.items()}
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    nodes = []
    for place, node in enumerate(graph.node):
        if node.op_type != "DeformConv":
            nodes.append(node)
            continue
        x, weights, offset, bias, mask = node.input
        arrays = {"weights": constants[weights], "bias": constants[bias]}
        arrays |= {name: np.zeros(shapes[given], np.float32) for name, given in (("x", x), ("offset", offset))}
        outputs, channels, *kernel = constants[weights].shape
        pads = (kernel[0] // 2, kernel[1] // 2)
        case = deforming.Case(shapes[x][2:], shapes[x][0], channels, outputs, tuple(kernel), pads=pads)
        arrays["mask"] = np.zeros((shapes[x][0], case.taps, *case.result), np.float32)
        part = onnx.compose.add_prefix(deforming.decomposed(case, arrays), f"deform{place}/").graph
        inputs = {f"deform{place}/{name}": given for name, given in (("x", x), ("offset", offset), ("mask", mask))}
        names = {**inputs, f"deform{place}/y": node.output[0]}
        for inner in part.node:
            inner.input[:] = [names.get(name, name) for name in inner.input]
            inner.output[:] = [names.get(name, name) for name in inner.output]
        nodes += part.node
        graph.initializer.extend(part.initializer)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
