"""Engines of format 1 load: the plate was called background there, and the background backdrop."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.compiler import plans
from trtmatte.compiler.families import registry
from trtmatte.format.file import FORMAT, write


def in_format_1(path: Path) -> None:
    """Rewrite an engine as trtmatte wrote it before format 2."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    words = {"plate": "background", "background": "backdrop"}
    for stage in manifest["program"]["stages"]:
        stage["inputs"] = [words.get(name, name) for name in stage["inputs"]]
    manifest["format"] = 1
    del manifest["keep_fp32"]
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_an_engine_of_format_1_runs_as_before(tmp_path: Path) -> None:
    engine = engines.memory(with_plate=True)
    write(engine, tmp_path / "old.trtm")
    in_format_1(tmp_path / "old.trtm")
    old = trtmatte.load(tmp_path / "old.trtm")
    assert old.program == engine.program
    assert (old.manifest["format"], old.keep_fp32) == (FORMAT, None)
    options: dict[str, Any] = {"outputs": ("composite", "pha"), "background": "red", "backend": "onnxruntime"}
    for expected, found in zip(
        engine.session(**options)(engines.noise(0), engines.noise(1)),
        old.session(**options)(engines.noise(0), engines.noise(1)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_plans_are_built_without_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine lists the nodes that stay in float32; without a list its family's rule finds them."""
    engine = engines.memory()
    networks = {stage.name: plans.parsed(engine.network(stage.name)) for stage in engine.program.networks}
    listed = {"network-0": ["both"]}
    with_list = trtmatte.Engine.of(engine.program, {name: engine.network(name) for name in networks}, keep_fp32=listed)
    monkeypatch.setattr(registry, "keep_fp32", lambda family: pytest.fail("a family was asked"))
    assert plans.kept_by(with_list, networks) == listed
    monkeypatch.undo()
    assert plans.kept_by(engine, networks) == plans.keep_fp32(engine.program, networks)
