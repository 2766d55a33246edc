"""Tiny engines to damage: of every op and every kind of network, and quick to run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from onnx import TensorProto, helper

from tests.runtime.session import engines
from trtmatte.api import Engine
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import NetworkStage, OpStage, Tensor

__all__ = ["all_engines", "refining"]

WIDTH, HEIGHT = 32, 24
_SMALL = (6, 8)


@functools.cache
def all_engines() -> tuple[Engine, ...]:
    """With states, with a plate, for two streams, and with patches of both kinds."""
    return (engines.memory(), engines.memory(batch=2, with_plate=True), refining(0), refining(1))


def refining(mode: int) -> Engine:
    """A program with patches: its mode is sampling (0) or thresholding (1)."""
    shapes: dict[str, tuple[int | str, ...]] = {
        name: (1, channels, *_SMALL)
        for name, channels in (("small", 3), ("small_plate", 3), ("coarse", 4), ("err", 1), ("maps", 8))
    }
    shapes |= {"half": ("patches", 14, 8, 8), "full": ("patches", 6, 8, 8), "refined": ("patches", 4, 4, 4)}
    grid = {"height": HEIGHT // 4, "width": WIDTH // 4}
    select = {**grid, "mode": mode, "prevent_oversampling": 0} | (
        {"k": 5, "capacity": 5} if mode == 0 else {"threshold": 0.2, "capacity": grid["height"] * grid["width"]}
    )
    sample = {"height": _SMALL[0], "width": _SMALL[1], "step_y": (4, 1), "step_x": (4, 1), "method": 1}
    program = Program(
        family="refining",
        variant="tiny",
        size=(WIDTH, HEIGHT),
        batch=1,
        tensors={
            **{name: Tensor("float32", shape) for name, shape in shapes.items()},
            "indices": Tensor("int32", ("patches", 3)),
            "count": Tensor("int32", (1,)),
            "ref": Tensor("float32", (1, 1, grid["height"], grid["width"])),
        },
        stages=(
            OpStage("FrameSample", ("frame",), ("small",), sample),
            OpStage("FrameSample", ("plate",), ("small_plate",), sample),
            NetworkStage("network-0", ("small", "small_plate"), ("coarse", "err", "maps")),
            OpStage("PatchSelect", ("err",), ("indices", "count", "ref"), select),
            OpStage("PatchCrop", ("maps", "frame", "plate", "indices"), ("half", "full"), {"kernel": 3}),
            NetworkStage("network-1", ("half", "full"), ("refined",)),
            OpStage("PatchScatter", ("coarse", "refined", "indices", "frame", "background"), MATTE_OUTPUTS),
        ),
        outputs=("err", "ref"),
    )
    node = helper.make_node
    coarse = [
        node("Sub", ["small", "small_plate"], ["change"]),
        node("ReduceMean", ["change"], ["err"], axes=[1], keepdims=1),
        node("Concat", ["err", "small"], ["coarse"], axis=1),
        node("Concat", ["coarse", "coarse"], ["maps"], axis=1),
    ]
    refined = [
        node("Concat", ["half", "full"], ["both"], axis=1),
        node("LpPool", ["both"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Slice", ["pooled", "first", "last", "axis"], ["refined"]),
    ]
    networks = {
        "network-0": _network(coarse, ("small", "small_plate"), ("coarse", "err", "maps"), shapes),
        "network-1": _network(refined, ("half", "full"), ("refined",), shapes),
    }
    return Engine.of(program, networks)


def _network(
    nodes: Sequence[object],
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Mapping[str, tuple[int | str, ...]],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("first", 0), ("last", 4), ("axis", 1))
            if "refined" in outputs
        ],
    )
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return model
