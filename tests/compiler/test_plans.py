"""Plans: in the engine's precision, and added to an engine later."""
# ruff: noqa: F811

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trtmatte
from tests.compiler.building import SMALL, no_sessions_left, official, own_cache, refusing, rtx, small  # noqa: F401
from trtmatte.backends import tensorrt
from trtmatte.compiler import plans
from trtmatte.compiler.families import registry


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
    engine = trtmatte.Engine.of(engine.program, {name: engine.network(name).tobytes()}, keep_fp32=listed)
    asked: list[list[str] | None] = []

    def in_precision(network: Any, kept: list[str] | None) -> Any:
        asked.append(kept)
        return network

    def build_plan(*_: Any, **__: Any) -> tensorrt.BuiltPlan:
        return tensorrt.BuiltPlan(b"a plan", "tensorrt-rtx", "key", {})

    monkeypatch.setattr(registry, "keep_fp32", lambda family: pytest.fail(f"the rule of {family} was asked"))
    monkeypatch.setattr(plans, "in_precision", in_precision)
    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
    monkeypatch.setattr(tensorrt, "environment", lambda target, **_: {"version": "1"})
    more = plans.completed(engine, "tensorrt-rtx")
    assert asked == [listed[name]]
    assert more.keep_fp32 == listed
    ((_, info),) = more.plans["tensorrt-rtx"].items()
    assert info["precision"] == "fp16"


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
