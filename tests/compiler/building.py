"""Fixtures and helpers of the tests that build engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trtmatte
from tests import real_models as models
from tests import reference
from tests.compiler.small import shrinking as shrinking
from trtmatte.api import Engine
from trtmatte.backends import tensorrt
from trtmatte.compiler import build as compiler
from trtmatte.errors import BackendError
from trtmatte.format import file as engine_file
from trtmatte.runtime import networks

torch = pytest.importorskip("torch")

RECIPES = sorted((Path(__file__).parents[2] / "engines").glob("*.toml"))
CPU = {"target": "onnxruntime"}


@pytest.fixture(scope="session")
def official() -> Path:
    return models.model("rvm-mobilenetv3")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files with stand-in weights, by the networks' names."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(name: str, **network: Any) -> Path:
        path = folder / f"{name}{''.join(map(str, network.values()))}.pth"
        if not path.exists():
            torch.save(reference.network(name, **network).state_dict(), path)
        return path

    return checkpoint


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that is built in no time."""
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(shrinking(), path)
    return path


def model_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in a folder of its own, which becomes the current one."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    onnx.save(shrinking(), folder / "model.onnx")
    return folder / "model.onnx"


SMALL = {"family": "generic", "size": (64, 48), **CPU}


@pytest.fixture(autouse=True)
def own_cache(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def rtx() -> dict[str, Any]:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    return {"target": "tensorrt-rtx"}


def files(folder: Path) -> list[str]:
    """All that lies in a folder but the cache's locks, which stay."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def refusing(message: str) -> Any:
    def build_plan(*_: Any, **__: Any) -> None:
        raise BackendError(message)

    return build_plan


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every engine that is really built."""
    seen: list[str] = []
    original = compiler.Request.compile

    def compile_(request: Any) -> engine_file.EngineFile:
        seen.append(request.key)
        return original(request)

    monkeypatch.setattr(compiler.Request, "compile", compile_)
    return seen


@pytest.fixture(autouse=True)
def no_sessions_left() -> Iterator[None]:
    yield
    networks._shared.clear()


def key_of(model: Path, **options_: Any) -> str:
    return str(trtmatte.build(model, **{**SMALL, **options_}).manifest["key"])


def program(small: Path, out: Path, **more: Any) -> list[str]:
    arguments = {**SMALL, "out": str(out), **more}
    return [sys.executable, "-c", f"import trtmatte; trtmatte.build({str(small)!r}, **{arguments!r})"]


def check_plans(engine: Engine, target: str) -> None:
    """Every network has its plan, in float16 and for small tensors."""
    ((key, info),) = engine.plans[target].items()
    assert info["precision"] == "fp16"
    assert info["environment"] == tensorrt.environment(target)
    assert tuple(info["networks"]) == tuple(stage.name for stage in engine.program.networks)
    width, height = engine.program.size
    for name, facts in info["networks"].items():
        assert len(engine.plan(target, key, name)) > 1000
        assert facts["inputs"]
        for dtype, *shape in facts["inputs"].values():
            assert dtype == "float16"
            assert not {width, height} <= set(shape)
            assert -1 in shape or np.prod(shape) < 3 * width * height


def options_of(vector: reference.Vector) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: vector.settings[name] for name in ("batch", "downsample_ratio") if name in vector.settings
    }
    found["size"] = (vector.settings["width"], vector.settings["height"])
    if vector.family == "bgmv2" and "_refine_" in vector.model:
        found |= vector.options
    if vector.family in ("modnet", "u2net"):
        found["input_size"] = found["size"]
    if vector.family == "u2net":
        found |= {"stretch": False, "divide_by_maximum": False}
    return found
