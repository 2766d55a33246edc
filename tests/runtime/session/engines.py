"""Engines to open sessions on: of the reference vectors, of the real file, and a tiny one, easy to predict."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import real_models as models
from tests import reference
from trtmatte.api import Engine
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import NetworkStage, OpStage, State, Tensor

BACKENDS = ("onnxruntime", "openvino")
WIDTH, HEIGHT = 32, 24


def require(backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    return backend


def of_graph(model):
    from trtmatte.compiler.graph.cut import cut

    program, networks = cut(model)
    named = zip(program.networks, networks, strict=True)
    return Engine.of(program, {stage.name: network.SerializeToString() for stage, network in named})


@functools.lru_cache(maxsize=2)
def of_vector(name):
    """The vector's model with its stand-in weights, built from a checkpoint."""
    import torch

    from trtmatte.compiler.families import reading as importing

    vector = reference.load(name)
    settings = {"size": (vector.settings["width"], vector.settings["height"]), "batch": vector.settings["batch"]}
    options = {}
    if vector.family == "rvm":
        options = {"refiner": vector.options["refiner"]} if "refiner" in vector.options else {}
        settings |= {
            "downsample_ratio": vector.settings["downsample_ratio"],
            "segmentation": vector.settings["segmentation_pass"],
        }
    elif "_refine_" in vector.model:
        options = {"refine_kernel_size": vector.options.get("refine_kernel_size", 3)}
        settings |= vector.options
    elif vector.family == "bgmv2":
        settings |= {"hidden": True}
    else:
        settings |= {"input_size": settings["size"]}
        settings |= {"stretch": False, "divide_by_maximum": False} if vector.family == "u2net" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(reference.network(vector.model, **options).state_dict(), path)
        return of_graph(importing.read(path, **settings))


@functools.lru_cache(maxsize=4)
def rvm(width, height, ratio):
    """The real RVM."""
    from trtmatte.compiler.families import reading as importing

    path = models.model("rvm-mobilenetv3")
    return of_graph(importing.read(path, size=(width, height), downsample_ratio=ratio))


@functools.lru_cache(maxsize=8)
def memory(batch=1, with_plate=False, estimates=False):
    """A tiny recurrent one for frames of 32x24.

    Its alpha is half that of the frame before and half the mean colour of the frame, seen at half its size; with a
    plate, half of that picture's mean comes on top. It has the small alpha and a map of ones besides.
    With `estimates`, the colours of the foreground are estimated.
    """
    small, size = (batch, 1, HEIGHT // 2, WIDTH // 2), (batch, 3, HEIGHT // 2, WIDTH // 2)
    pictures = ("frame", "plate") if with_plate else ("frame",)
    samples = {picture: f"{picture}_sm" for picture in pictures}
    sampling = {"height": small[2], "width": small[3], "step_y": (2, 1), "step_x": (2, 1), "method": 1}
    stages = [OpStage("FrameSample", (picture,), (samples[picture],), sampling) for picture in pictures]
    inputs, outputs = (*samples.values(), "memory"), ("memory_next", "alpha", "ones")
    stages.append(NetworkStage("network-0", inputs, outputs))
    colours = ("colours",) if estimates else ()
    if estimates:
        stages.append(OpStage("ForegroundEstimate", ("frame", "alpha"), colours, {}))
    stages.append(OpStage("MatteUpsample", ("frame", "alpha", *colours, "background"), MATTE_OUTPUTS, {"method": 0}))
    program = Program(
        family="memory",
        variant="tiny",
        size=(WIDTH, HEIGHT),
        batch=batch,
        tensors={
            **{name: Tensor("float32", size) for name in samples.values()},
            **{name: Tensor("float32", small) for name in ("memory", *outputs)},
            **{name: Tensor("float32", (batch, 6, 128, 128)) for name in colours},
        },
        stages=tuple(stages),
        states=(State("memory", "memory", "memory_next"),),
        outputs=("alpha", "ones"),
    )
    return Engine.of(program, {"network-0": _halving(size, small, tuple(samples.values()))})


def _halving(size, small, samples):
    """memory_next = memory / 2 + mean of the samples' channels / 2"""
    nodes = []
    for name in samples:
        nodes.append(helper.make_node("ReduceMean", [name], [f"{name}_mean"], axes=[1], keepdims=1))
        nodes.append(helper.make_node("Mul", [f"{name}_mean", "half"], [f"{name}_half"]))
    total = f"{samples[0]}_half"
    if len(samples) == 2:
        nodes.append(helper.make_node("Add", [total, f"{samples[1]}_half"], ["both"]))
        total = "both"
    nodes += [
        helper.make_node("Mul", ["memory", "half"], ["kept"]),
        helper.make_node("Add", ["kept", total], ["memory_next"]),
        helper.make_node("Clip", ["memory_next", "zero", "one"], ["alpha"]),
        helper.make_node("Mul", ["memory", "zero"], ["nothing"]),
        helper.make_node("Exp", ["nothing"], ["ones"]),
    ]
    graph = helper.make_graph(
        nodes,
        "halving",
        [
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name in samples),
            helper.make_tensor_value_info("memory", TensorProto.FLOAT, small),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, small) for name in ("memory_next", "alpha", "ones")],
        [
            numpy_helper.from_array(np.float32(value), name)
            for name, value in (("half", 0.5), ("zero", 0.0), ("one", 1.0))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def with_half(engine):
    """The engine as it is built with the precision fp16: ONNX Runtime runs it in float16 on a GPU."""
    from trtmatte.compiler import plans

    networks = {stage.name: plans.parsed(engine.network(stage.name)) for stage in engine.program.networks}
    kept = plans.kept_by(engine, networks) if engine.program.family != "memory" else dict.fromkeys(networks, ())
    return engine.with_plans(plans.for_onnxruntime(engine.program, networks, kept))


def grey(value, width=WIDTH, height=HEIGHT):
    """A frame of one brightness, 0…255."""
    return np.full((height, width, 3), value, np.uint8)


def noise(seed, width=WIDTH, height=HEIGHT):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cut_out(pixels, output="rgba", **options):
    """An output that the tiny model's own session makes of a picture, in the form that apps give it."""
    with memory().session(backend="onnxruntime", outputs=(output,), **options) as session:
        matte = session(pixels)[0].copy()
    if output == "rgba":
        matte[matte[..., 3] == 0] = 0
    return np.squeeze(matte)
