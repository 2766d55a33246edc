"""Plans: in the engine's precision, and added to an engine later."""
# ruff: noqa: F811

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trtmatte
from tests.compiler.building import SMALL, no_sessions_left, official, own_cache, refusing, rtx, small  # noqa: F401
from tests.runtime.session import engines
from trtmatte.backends import tensorrt
from trtmatte.backends.onnxruntime import Network
from trtmatte.compiler import plans
from trtmatte.compiler.families import registry
from trtmatte.format.file import CUDA_PLAN


def test_plans_in_both_precisions(small: Path, rtx: dict[str, Any]) -> None:
    for precision, dtype in (("fp16", "float16"), ("fp32", "float32")):
        engine = trtmatte.build(small, **{**SMALL, **rtx}, precision=precision)
        ((_, info),) = engine.plans["tensorrt-rtx"].items()
        assert {kind for kind, *_ in info["networks"]["network-0"]["inputs"].values()} == {dtype}


def test_an_engine_gets_a_plan_later_once(small: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = trtmatte.build(small, **SMALL)
    more = plans.completed(engine, "tensorrt-rtx")
    check = more.plans["tensorrt-rtx"]
    assert len(check) == 1
    assert more.network("network-0") == engine.network("network-0")
    monkeypatch.setattr(tensorrt, "build_plan", refusing("it was to be taken from the cache"))
    assert plans.completed(engine, "tensorrt-rtx").plans["tensorrt-rtx"] == check


def test_a_later_plan_keeps_the_listed_nodes(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is the engine's; no rule of a family is asked."""
    engine = trtmatte.build(small, **SMALL)
    (name,) = (stage.name for stage in engine.program.networks)
    listed = {name: [plans.parsed(engine.network(name)).graph.node[0].output[0]]}
    engine = trtmatte.Engine.of(engine.program, {name: engine.network(name)}, keep_fp32=listed)
    asked: list[Any] = []

    def in_precision(networks: Any, kept: Any, wide: Any) -> Any:
        asked.append(kept)
        return networks

    def build_plan(*_: Any, **__: Any) -> tensorrt.BuiltPlan:
        return tensorrt.BuiltPlan(b"a plan", "tensorrt-rtx", "key", {})

    monkeypatch.setattr(registry, "keep_fp32", lambda family: pytest.fail(f"the rule of {family} was asked"))
    monkeypatch.setattr(plans, "in_precision", in_precision)
    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
    monkeypatch.setattr(tensorrt, "environment", lambda target, **_: {"version": "1"})
    more = plans.completed(engine, "tensorrt-rtx")
    assert asked == [listed]
    assert more.keep_fp32 == listed
    ((_, info),) = more.plans["tensorrt-rtx"].items()
    assert info["precision"] == "fp16"


def types(network: Any) -> dict[str, str]:
    """The types of inputs and outputs, of weights, and of what single nodes read."""
    graph = plans.parsed(network).graph
    values = [*graph.input, *graph.output]
    found = {each.name: onnx.TensorProto.DataType.Name(each.type.tensor_type.elem_type) for each in values}
    return found | {each.name: onnx.TensorProto.DataType.Name(each.data_type) for each in graph.initializer}


def test_onnxruntime_gets_networks_in_float16_for_a_gpu(small: Path) -> None:
    engine = trtmatte.build(small, **SMALL)
    assert engine.plans["onnxruntime"] == {"cuda": {"precision": "fp16"}}
    assert set(types(engine.plan(*CUDA_PLAN, "network-0")).values()) == {"FLOAT16"}
    assert set(types(engine.network("network-0")).values()) == {"FLOAT"}
    for precision in ("fp32", "tf32"):
        other = trtmatte.build(small, **SMALL, precision=precision)
        assert "onnxruntime" not in other.plans
        assert other.uses_tf32 == (precision == "tf32")


def test_onnxruntime_keeps_the_listed_nodes_and_the_callers_outputs_in_float32() -> None:
    """By the same rules as TensorRT. The network has the same values, as far as the CPU can show it."""
    engine = engines.memory()
    networks = {"network-0": plans.parsed(engine.network("network-0"))}
    (plan,) = plans.for_onnxruntime(engine.program, networks, {"network-0": ["kept"]})
    half = plans.parsed(memoryview(plan.networks["network-0"]))
    made = {name: node for node in half.graph.node for name in node.output}
    assert made[made["kept"].input[0]].op_type == "Cast", "memory in float32"
    assert made[made["frame_sm_half"].input[0]].op_type != "Cast"
    found = types(memoryview(plan.networks["network-0"]))
    assert (found["memory"], found["frame_sm"], found["memory_next"]) == ("FLOAT16",) * 3
    assert (found["alpha"], found["ones"]) == ("FLOAT",) * 2
    random = np.random.default_rng(0)
    inputs = {
        "frame_sm": random.random((1, 3, 12, 16), np.float32),
        "memory": random.random((1, 1, 12, 16), np.float32),
    }
    expected = Network(bytes(engine.network("network-0")))(inputs)
    actual = Network(plan.networks["network-0"])({name: array.astype(np.float16) for name, array in inputs.items()})
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, atol=2e-3)


@pytest.mark.parametrize(("precision", "tf32"), [("fp16", False), ("fp32", False), ("tf32", True)])
def test_tf32_is_for_plans_that_ask_for_it(
    precision: str, tf32: bool, small: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def build_plan(*_: Any, tf32: bool, **__: Any) -> tensorrt.BuiltPlan:
        asked.append(tf32)
        return tensorrt.BuiltPlan(b"a plan", "tensorrt-rtx", "key", {})

    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
    built = trtmatte.build(small, **{**SMALL, **rtx}, precision=precision)
    later = plans.completed(trtmatte.build(small, **SMALL, precision=precision), "tensorrt-rtx")
    assert asked == [tf32, tf32]
    for engine in (built, later):
        ((_, info),) = engine.plans["tensorrt-rtx"].items()
        assert info["precision"] == precision


LATER = """
import json, sys
import trtmatte
from trtmatte.compiler import plans
plans.completed(trtmatte.load(sys.argv[1]), "tensorrt-rtx")
print(json.dumps(list(sys.modules)))
"""


def test_a_later_plan_imports_no_family(small: Path, tmp_path: Path, rtx: dict[str, Any]) -> None:
    trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    process = subprocess.run(
        [sys.executable, "-c", LATER, str(tmp_path / "e.trtm")], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(process.stdout.splitlines()[-1]))
    families = {each.package for each in registry.families()}
    assert len(families) > 1
    assert not families & imported
