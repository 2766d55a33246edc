"""ONNX files as users have them: written in the official ways, and then maltreated."""

from __future__ import annotations

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
from onnx import ModelProto
from torch import Tensor, nn

from trtmatte.families.rvm.network import guide


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
# What happens to files


def renamed(model: ModelProto) -> ModelProto:
    """Every value, input, output and node under a name that says nothing, and the outputs in another order."""
    names: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    graph = model.graph
    for node in graph.node:
        node.name = ""
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    for each in (*graph.initializer, *graph.input, *graph.output):
        each.name = new(each.name)
    del graph.value_info[:]
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
