"""From model to engine: models and recipes, what is in the engine, the cache, builds that fail or are stopped."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtmatte
from tests import exports, reference
from tests import real_models as models
from trtmatte import plugins
from trtmatte.api import Engine, load
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import BuildCancelledError
from trtmatte.compiler import build as compiler
from trtmatte.compiler import options, plans, source
from trtmatte.compiler.families import catalog
from trtmatte.compiler.families import reading as importing
from trtmatte.errors import BackendError, DownloadError, EngineError, ModelError, SettingError
from trtmatte.format import file as engine_file
from trtmatte.reports import validate as validation
from trtmatte.runtime import networks
from trtmatte.support import packages

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


def shrinking(weight: float = 0.5) -> onnx.ModelProto:
    """One picture in, one alpha out, as a convolution: for the family generic."""
    kernel = np.full((1, 3, 3, 3), weight / 27, np.float32)
    node = onnx.helper.make_node("Conv", ["picture", "kernel"], ["alpha"], pads=[1, 1, 1, 1])
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 16, 16])
        for name, channels in (("picture", 3), ("alpha", 1))
    ]
    graph = onnx.helper.make_graph(
        [node], "g", values[:1], values[1:], [onnx.numpy_helper.from_array(kernel, "kernel")]
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


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


# ---------------------------------------------------------------------------------------------------------------------
# Every model


VECTORS = [
    "rvm_mobilenetv3-ratio0.5",
    "rvm_mobilenetv3-fast-guided",
    "rvm_resnet50-odd-ratio0.375",
    "bgmv2_base_mobilenetv2-odd",
    "bgmv2_refine_mobilenetv2-sampling-scale0.25",
    "bgmv2_refine_mobilenetv2-thresholding-scale0.5",
    "bgmv2_refine_mobilenetv2-kernel1-full",
    "modnet-256x320",
    "u2netp-160x160",
]


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


@pytest.mark.parametrize("name", [name for name in VECTORS if name in reference.vector_names()])
def test_a_checkpoint_becomes_an_engine_that_computes_the_vectors(name: str, checkpoints: Any, tmp_path: Path) -> None:
    vector = reference.load(name)
    of_weights = {name: vector.options[name] for name in ("refiner", "refine_kernel_size") if name in vector.options}
    path = checkpoints(vector.model, **of_weights)
    trtmatte.build(path, out=tmp_path / "e.trtm", **CPU, **options_of(vector))
    engine = load(tmp_path / "e.trtm")
    engine.verify()
    assert engine.manifest["source"] == {"file": path.name, "sha256": sha256(path)}
    output = "pha" if "pha" in vector.outputs else "matte" if "matte" in vector.outputs else "d0"
    session = engine.session(backend="onnxruntime", outputs="pha", dtype="float32", layout="CHW")
    frames, expected = vector.arrays["src"], vector.outputs[output]
    if "frames" not in vector.settings:
        frames, expected = frames[None], expected[None]
    backgrounds = itertools.repeat(vector.arrays["bgr"]) if "bgr" in vector.arrays else itertools.repeat(None)
    for frame, background, alpha in zip(frames, backgrounds, expected, strict=False):
        pictures = (frame,) if background is None else (frame, background)
        np.testing.assert_allclose(session(*pictures)["pha"], alpha, atol=vector.tolerance(output))


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_official_file(official: Path, rtx: dict[str, Any]) -> None:
    started = time.monotonic()
    engine = trtmatte.build(official, size="1920x1080", downsample_ratio=0.25, **rtx)
    assert time.monotonic() - started < 30
    check_plans(engine, "tensorrt-rtx")
    assert engine.program.tensors["src_sm"].shape == (1, 3, 270, 480)
    assert engine.manifest["settings"]["downsample_ratio"] == 0.25
    assert engine.manifest["source"]["file"] == official.name


def test_a_known_name(official: Path, own_cache: Path) -> None:
    place = own_cache / "models" / official.name
    place.parent.mkdir(parents=True)
    place.symlink_to(official)
    engine = trtmatte.build("rvm-mobilenetv3", **CPU)
    assert engine.manifest["source"]["known_as"] == "rvm-mobilenetv3"
    assert engine.manifest["source"]["licence"] == "GPL-3.0"
    assert engine.manifest["source"]["sha256"] == catalog.find("rvm-mobilenetv3").sha256


@pytest.mark.parametrize(
    ("frame", "ratio"), [((1920, 1080), 0.25), ((3840, 2160), 0.125), ((1280, 720), 0.375)], ids=["HD", "4K", "720p"]
)
def test_one_engine_serves_frames_of_every_size(frame: tuple[int, int], ratio: float, official: Path) -> None:
    """Each as the official file does at the ratio that leads to the same small picture."""
    engine = trtmatte.build(official, size="1920x1080", downsample_ratio=0.25, **CPU)
    session = engine.session(backend="onnxruntime")
    whole = onnxruntime.InferenceSession(official, providers=["CPUExecutionProvider"])
    names = [each.name for each in whole.get_outputs()]
    states = {f"r{level}i": np.zeros((1, 1, 1, 1), np.float32) for level in range(1, 5)}
    for picture in itertools.islice(models.clip(*frame), 2):
        matte = session(picture)
        source = np.ascontiguousarray(picture.transpose(2, 0, 1))[None].astype(np.float32) / 255
        feed = {"src": source, "downsample_ratio": np.array([ratio], np.float32), **states}
        expected = dict(zip(names, whole.run(names, feed), strict=True))
        states = {f"r{level}i": expected[f"r{level}o"] for level in range(1, 5)}
        for name in ("fgr", "pha"):
            steps = np.abs(matte[name].astype(int) - np.round(expected[name][0].transpose(1, 2, 0) * 255).astype(int))
            assert (steps <= 1).mean() >= 0.999, f"{name} is off by {steps.max()}"
    assert np.ptp(matte["pha"]) > 200


# ---------------------------------------------------------------------------------------------------------------------
# Recipes


STAND_INS = {
    "rvm-mobilenetv3": "rvm_mobilenetv3",
    "bgmv2-resnet50": "bgmv2_refine_resnet50",
    "modnet-photographic": "modnet",
    "u2net": "u2net",
    "u2netp": "u2netp",
}

SEEN = {  # by the network, width and height
    "rvm-hd": (480, 270),
    "rvm-hd-fullbody": (768, 432),
    "rvm-4k": (480, 270),
    "rvm-4k-fullbody": (768, 432),
    "bgmv2-hd": (480, 270),
    "bgmv2-4k": (480, 270),
    "modnet": (896, 512),
    "u2net": (320, 320),
    "u2netp": (320, 320),
}


def local(recipe: Path, checkpoints: Any, folder: Path) -> Path:
    """The recipe with weights that are here in the place of those that are not."""
    text = recipe.read_text()
    model = re.search(r'^model = "(.*)"$', text, re.MULTILINE)[1]
    assert catalog.find(model)
    path = folder / recipe.name
    (folder / "weights.pth").symlink_to(checkpoints(STAND_INS[model]))
    path.write_text(text.replace(f'"{model}"', '"weights.pth"'))
    return path


def test_all_recipes_are_known() -> None:
    assert {path.stem for path in RECIPES} == set(SEEN)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds(recipe: Path, checkpoints: Any, tmp_path: Path) -> None:
    """For the CPU, and for TensorRT-RTX where it is installed."""
    path = local(recipe, checkpoints, tmp_path)
    targets = [target for target in ("onnxruntime", "tensorrt-rtx") if target in compiler._targets(())]
    started = time.monotonic()
    trtmatte.build(path, out=path.with_suffix(".trtm"), target=targets)
    seconds = time.monotonic() - started
    engine = load(path.with_suffix(".trtm"))
    engine.verify()
    sample = next(stage for stage in engine.program.stages if getattr(stage, "op", "") == "FrameSample")
    assert (sample.attributes["width"], sample.attributes["height"]) == SEEN[recipe.stem]
    assert engine.program.size == ((3840, 2160) if "4k" in recipe.stem else (1920, 1080))
    assert engine.program.capacity == {"bgmv2-hd": 5000, "bgmv2-4k": 20000}.get(recipe.stem, 0)
    if "tensorrt-rtx" in targets:
        check_plans(engine, "tensorrt-rtx")
        assert recipe.stem != "rvm-hd" or seconds < 30


def check_plans(engine: Engine, target: str) -> None:
    """Every network has its plan, in float16 and for small tensors."""
    ((key, info),) = engine.plans[target].items()
    assert info["precision"] == "fp16"
    assert info["environment"] == tensorrt.environment(target)
    assert tuple(info["networks"]) == tuple(stage.name for stage in engine.program.networks)
    width, height = engine.program.size
    for name, facts in info["networks"].items():
        assert engine.plan(target, key, name).nbytes > 1000
        assert facts["inputs"]
        for dtype, *shape in facts["inputs"].values():
            assert dtype == "float16"
            assert not {width, height} <= set(shape)
            assert -1 in shape or np.prod(shape) < 3 * width * height


@pytest.mark.parametrize("mode", ["sampling", "thresholding", "full"])
def test_patches_have_bounds(mode: str, checkpoints: Any, rtx: dict[str, Any]) -> None:
    path = checkpoints("bgmv2_refine_mobilenetv2")
    engine = trtmatte.build(path, size=(1920, 1080), refine_mode=mode, **rtx)
    check_plans(engine, "tensorrt-rtx")
    first, last = engine.program.networks
    assert plans._bounds(engine.program, first) is None
    smallest, usual, largest = plans._bounds(engine.program, last)["half"]
    assert (smallest, usual) == ([1, 42, 8, 8], [5000, 42, 8, 8])
    assert largest == [5000 if mode == "sampling" else plans.LARGEST_PIECE, 42, 8, 8]


def write_recipe(folder: Path, text: str) -> Path:
    path = folder / "a.toml"
    path.write_text(text)
    return path


def test_a_recipe_s_names_have_dashes_or_underscores(small: Path, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(small.read_bytes())
    common = 'model = "small.onnx"\nfamily = "generic"\nsize = [64, 48]\ntarget = ["onnxruntime"]\n'
    dashes = trtmatte.build(write_recipe(tmp_path, common + 'input-size = "16x16"\nmean = [0.5, 0.5, 0.5]'))
    underscores = trtmatte.build(write_recipe(tmp_path, common + "input_size = [16, 16]\nmean = [0.5, 0.5, 0.5]"))
    assert dashes.manifest == underscores.manifest
    assert dashes.manifest["settings"]["mean"] == [0.5, 0.5, 0.5]


def test_what_is_asked_for_is_stronger_than_the_recipe(small: Path, tmp_path: Path) -> None:
    text = f'model = "{small}"\nfamily = "generic"\nsize = "64x48"\ntarget = "tensorrt"'
    engine = trtmatte.build(write_recipe(tmp_path, text), size="32x24", **CPU)
    assert engine.program.size == (32, 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "is not TOML"),
        ("size = '64x48'", "has the model None; expected a line like model = 'rvm-mobilenetv3'"),
        ("model = 3", "has the model 3"),
        ("model = 'rvm-mobilenetv3'\n[rvm]\na = 1", "has the table 'rvm'"),
        ("model = 'rvm-mobilenetv3'\nsize = 1920", "size is 1920; expected width and height"),
        ("model = 'rvm-mobilenetv3'\nsize = 2026-01-01", "size is datetime"),
        ("model = 'rvm-mobilenetv3'\ntarget = 'rtx'", "target is 'rtx'; expected onnxruntime, tensorrt, tensorrt-rtx"),
        ("model = 'rvm-mobilenetv4'", "did you mean rvm-mobilenetv3"),
        ("model = 'weights.pth'", "there is no file .*weights.pth"),
    ],
)
def test_wrong_recipes(text: str, message: str, official: Path, own_cache: Path, tmp_path: Path) -> None:
    (own_cache / "models").mkdir(parents=True)
    (own_cache / "models" / official.name).symlink_to(official)
    with pytest.raises((SettingError, ModelError), match=message):
        trtmatte.build(write_recipe(tmp_path, text))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"the recipe .*a.toml cannot be read: No such file"):
        trtmatte.build(tmp_path / "a.toml")


def test_recipes_without_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(SettingError, match="pip install tomli"):
        trtmatte.build(write_recipe(tmp_path, "model = 'a'"))


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"size": "big"}, SettingError, "size is 'big'; expected width and height of at least 1, like 1920x1080"),
        ({"size": (0, 10)}, SettingError, r"size is \(0, 10\)"),
        ({"batch": 0}, SettingError, "batch is 0; expected a whole number"),
        ({"batch": True}, SettingError, "batch is True"),
        ({"precision": "fp8"}, SettingError, "precision is 'fp8'; expected fp16, fp32"),
        ({"export": "plam"}, SettingError, "export is 'plam'; expected plan, onnx, triton; did you mean plan"),
        ({"target": "tensort"}, SettingError, "did you mean tensorrt"),
        ({"export": "plan"}, SettingError, "makes no engine: use trtmatte-build --export .* or leave export out"),
        ({"dtype": "float32"}, SettingError, "dtype is given, but an engine leaves it to its sessions"),
        ({"family": "rwm"}, SettingError, "family is 'rwm'"),
        ({"colour": "red"}, SettingError, "generic has no setting colour; it has input_size"),
        ({"mean": {"red": 1}}, SettingError, "mean is .*; expected a text, a number"),
        ({"out": "nowhere/e.trtm"}, SettingError, "no folder nowhere"),
        ({"out": "."}, SettingError, "is a folder"),
    ],
)
def test_wrong_options(
    wrong: dict[str, Any], error: type[Exception], message: str, small: Path, own_cache: Path
) -> None:
    with pytest.raises(error, match=message):
        trtmatte.build(small, **{**SMALL, **wrong})
    assert not files(own_cache)


def test_numbers_may_come_as_text() -> None:
    assert options.Options.of({"downsample_ratio": "0.25"}).settings == {"downsample_ratio": 0.25}
    assert options.Options.of({"downsample_ratio": "auto"}).settings == {"downsample_ratio": "auto"}


def test_none_is_left_out() -> None:
    assert options.Options.of(dict.fromkeys(("family", "size", "precision", "refine_mode"))) == options.Options()


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"there is no file rvm-mobilenet3, .* did you mean rvm-mobilenetv3"):
        trtmatte.build("rvm-mobilenet3")
    with pytest.raises(ModelError, match="is a folder; expected a model file"):
        trtmatte.build("/tmp")


def test_a_known_model_that_must_be_fetched_by_hand() -> None:
    with pytest.raises(DownloadError, match="bgmv2-resnet50 is not fetched automatically"):
        trtmatte.build("bgmv2-resnet50")


def test_a_target_that_cannot_be_built_here(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tensorrt, "build_unavailable_reason", lambda target: f"{target} is not installed: pip install it"
    )
    with pytest.raises(BackendError, match=r"target tensorrt cannot be built here: .* pip install it"):
        trtmatte.build(small, **{**SMALL, "target": ["onnxruntime", "tensorrt"]})


def test_left_out_the_targets_are_what_can_be_built_here(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {key: value for key, value in SMALL.items() if key != "target"}
    monkeypatch.setattr(tensorrt, "targets_available", list)
    assert trtmatte.build(small, **given).manifest["settings"]["target"] == ["onnxruntime"]
    monkeypatch.undo()
    assert set(tensorrt.targets_available()) <= set(compiler._targets(()))


def refusing(message: str) -> Any:
    def build_plan(*_: Any, **__: Any) -> None:
        raise BackendError(message)

    return build_plan


def test_a_target_that_cannot_build_this_model(
    small: Path, own_cache: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by name it is an error; left out, the engine says why there is no plan."""
    monkeypatch.setattr(tensorrt, "build_plan", refusing("it cannot"))
    with pytest.raises(BackendError, match="it cannot"):
        trtmatte.build(small, **{**SMALL, **rtx})
    assert not files(own_cache)
    engine = trtmatte.build(small, **{**SMALL, "target": None})
    assert engine.manifest["not_built"]["tensorrt-rtx"] == "it cannot"
    assert "tensorrt-rtx" not in engine.plans


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


# ---------------------------------------------------------------------------------------------------------------------
# The cache


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


def test_a_second_build_is_answered_from_the_cache(small: Path, tmp_path: Path, compiled: list[str]) -> None:
    first = trtmatte.build(small, **SMALL)
    second = trtmatte.build(str(small), out=tmp_path / "e.trtm", **{**SMALL, "size": "64x48"})
    third = trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert len(compiled) == 1
    assert first.manifest == second.manifest == third.manifest
    assert third.path == tmp_path / "e.trtm"


@pytest.mark.alone
def test_a_second_build_takes_no_time(official: Path, tmp_path: Path) -> None:
    given = {"size": "1920x1080", "downsample_ratio": 0.25, "out": tmp_path / "e.trtm", **CPU}
    trtmatte.build(official, **given)
    for place in (tmp_path / "e.trtm", tmp_path / "another.trtm"):
        started = time.monotonic()
        trtmatte.build(official, **{**given, "out": place})
        assert time.monotonic() - started < 0.5


def test_an_engine_that_is_in_its_place_is_left_alone(small: Path, tmp_path: Path) -> None:
    trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    before = (tmp_path / "e.trtm").stat()
    trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert (tmp_path / "e.trtm").stat().st_ino == before.st_ino
    trtmatte.build(small, out=tmp_path / "e.trtm", batch=1, **{**SMALL, "size": (32, 32)})
    assert load(tmp_path / "e.trtm").program.size == (32, 32)


def test_force_builds_again(small: Path, tmp_path: Path, compiled: list[str]) -> None:
    for _ in range(2):
        trtmatte.build(small, out=tmp_path / "e.trtm", force=True, **SMALL)
    assert len(compiled) == 2


CHANGES: dict[str, dict[str, Any]] = {
    "size": {"size": (32, 48)},
    "batch": {"batch": 2},
    "precision": {"precision": "fp32"},
    "a setting of the family": {"mean": (0.1, 0.1, 0.1)},
    "verbose": {"verbose": True},
}


def key_of(model: Path, **options_: Any) -> str:
    return str(trtmatte.build(model, **{**SMALL, **options_}).manifest["key"])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_option_is_another_engine(change: dict[str, Any], small: Path) -> None:
    assert key_of(small) == key_of(small)
    assert key_of(small, **change) != key_of(small)


def test_another_target_is_another_engine(small: Path, rtx: dict[str, Any]) -> None:
    assert key_of(small, **rtx) != key_of(small)


def test_another_content_is_another_engine(small: Path, tmp_path: Path) -> None:
    path = tmp_path / small.name
    path.write_bytes(small.read_bytes())
    same = key_of(path)
    onnx.save(shrinking(weight=0.25), path)
    assert same == key_of(small) != key_of(path)


@pytest.mark.parametrize("location", ["weights.bin", "n" * 200], ids=["a short name", "a long name"])
def test_another_content_of_the_weights_file_is_another_engine(location: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(shrinking(), path, save_as_external_data=True, location=location, size_threshold=0)
    before, about = key_of(path), source._about(path)
    assert about["other_files"] == {location: sha256(tmp_path / location)}
    weights = bytearray((tmp_path / location).read_bytes())
    weights[3] ^= 1
    (tmp_path / location).write_bytes(bytes(weights))
    assert key_of(path) != before


def test_a_name_that_ends_in_nothing_is_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for ending in (b"", b"\xff", b"\xff" * 12, b"\x05ab", b"\x02..", b"\x00"):
        path.write_bytes(b"\x08\x08" + source._LOCATION + ending)
        assert list(source._other_files(path)) == []


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (compiler, "code_hash", lambda: "other code"),
        (compiler, "version_of", lambda package: f"another version of {package}"),
        (compiler, "_plugins_hash", lambda: "another library"),
        (engine_file, "FORMAT", 0),
    ],
    ids=["trtmatte's code", "onnx and torch", "the plugin library", "the format"],
)
def test_what_builds_is_part_of_the_key(
    place: Any, name: str, value: Any, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        return compiler.Request.of(small, None, **SMALL).key

    before = key()
    monkeypatch.setattr(place, name, value)
    assert key() != before


def test_the_version_of_tensorrt_is_part_of_the_key(
    small: Path, rtx: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(small, **rtx)
    environment = tensorrt.environment
    monkeypatch.setattr(
        tensorrt, "environment", lambda target, **more: {**environment(target, **more), "version": "9.9"}
    )
    assert key_of(small, **rtx) != before


def test_the_code_s_hash_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("a = 1")
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    first = packages.code_hash.__wrapped__()
    (tmp_path / "a.py").write_text("a = 2")
    second = packages.code_hash.__wrapped__()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, packages.code_hash.__wrapped__()}) == 3


def test_a_plugin_library_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "plugins.py"))
    assert compiler._plugins_hash() is None
    (tmp_path / "libtrtmatte_plugins.so").write_bytes(b"a library")
    assert compiler._plugins_hash() == sha256(tmp_path / "libtrtmatte_plugins.so")


def test_a_damaged_engine_in_the_cache_is_built_again(small: Path, compiled: list[str]) -> None:
    place = trtmatte.build(small, **SMALL).path
    os.truncate(place, place.stat().st_size // 2)
    trtmatte.build(small, **SMALL).verify()
    assert len(compiled) == 2


def test_an_engine_under_another_key_is_built_again(small: Path, compiled: list[str]) -> None:
    one, other = trtmatte.build(small, **SMALL), trtmatte.build(small, **SMALL, batch=2)
    one.path.write_bytes(other.path.read_bytes())
    assert trtmatte.build(small, **SMALL).manifest == one.manifest
    assert len(compiled) == 3


def test_the_cache_is_the_user_s_own(small: Path, own_cache: Path) -> None:
    (own_cache / "engines").mkdir(parents=True)
    (own_cache / "engines").chmod(0o777)
    trtmatte.build(small, **SMALL)
    assert stat.S_IMODE((own_cache / "engines").stat().st_mode) == 0o700


def test_a_cache_of_another_user_is_refused(small: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_cache / "engines").mkdir(parents=True)
    monkeypatch.setattr(os, "getuid", lambda: own_cache.stat().st_uid + 1)
    with pytest.raises(EngineError, match=r"belongs to another user; set TRTMATTE_CACHE"):
        trtmatte.build(small, **SMALL)


def test_a_cache_that_cannot_be_made(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EngineError, match="cannot be used: Not a directory; set TRTMATTE_CACHE"):
        trtmatte.build(small, **SMALL)


def test_what_a_killed_process_left_is_removed(small: Path, own_cache: Path) -> None:
    place = trtmatte.build(small, **SMALL).path
    remains = place.with_name(f".{place.name}.0123.part")
    remains.write_bytes(b"half of it")
    other = place.with_name(".another.trtm.0123.part")
    other.write_bytes(b"of another")
    trtmatte.build(small, force=True, **SMALL)
    assert files(own_cache / "engines") == sorted((other.name, place.name))


def test_a_full_disk(small: Path, small_disk: Path, own_cache: Path) -> None:
    with pytest.raises(EngineError, match=r"e.trtm cannot be written: No space left on device; free some space"):
        trtmatte.build(small, out=small_disk / "e.trtm", **SMALL)
    assert not files(small_disk)
    assert len(files(own_cache)) == 1, "the build was good, and is kept"


def test_a_cache_on_a_full_disk(small: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRTMATTE_CACHE", str(small_disk))
    with pytest.raises(EngineError, match=r"cannot be written: No space left on device; free some space"):
        trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert not files(tmp_path)


def test_a_folder_that_is_not_the_user_s(small: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is built; root may write anywhere, so the answer is made up."""
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(EngineError, match=r"e.trtm cannot be written: .* is not yours to write to; choose another"):
        trtmatte.build(small, out=small.parent / "e.trtm", **SMALL)
    assert not files(own_cache)


# ---------------------------------------------------------------------------------------------------------------------
# Several processes, and such as are stopped


def program(small: Path, out: Path, **more: Any) -> list[str]:
    arguments = {**SMALL, "out": str(out), **more}
    return [sys.executable, "-c", f"import trtmatte; trtmatte.build({str(small)!r}, **{arguments!r})"]


def test_two_processes_at_once_end_with_one_good_file(small: Path, own_cache: Path, tmp_path: Path) -> None:
    running = [subprocess.Popen(program(small, tmp_path / "e.trtm")) for _ in range(3)]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    load(tmp_path / "e.trtm").verify()
    (cached,) = files(own_cache / "engines")
    load(own_cache / "engines" / cached).verify()
    assert files(tmp_path) == [f"cache/engines/{cached}", "e.trtm"]


def stop_when_it_writes(small: Path, tmp_path: Path, with_signal: int) -> int:
    """Stops a process that builds the same engine without end, at a moment that nobody knows."""
    text = (
        "import itertools, signal, trtmatte; signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "for count in itertools.count():\n"
        f"    trtmatte.build({str(small)!r}, out={str(tmp_path / 'e.trtm')!r}, force=True, **{SMALL!r})\n"
        "    print(count, flush=True)"
    )
    running = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdout is not None
    running.stdout.readline()  # the modules are loaded, and it goes on writing
    time.sleep(np.random.default_rng().uniform(0, 0.05))
    running.send_signal(with_signal)
    running.stdout.close()
    return running.wait(60)


def test_a_killed_process_leaves_nothing_that_is_half_an_engine(small: Path, own_cache: Path, tmp_path: Path) -> None:
    for _ in range(5):
        assert stop_when_it_writes(small, tmp_path, signal.SIGKILL) == -signal.SIGKILL
        for name in files(tmp_path):
            if name.endswith(".trtm"):
                load(tmp_path / name).verify()
    trtmatte.build(small, **SMALL)  # and the lock is free again


def test_an_interrupted_process_leaves_nothing(small: Path, own_cache: Path, tmp_path: Path) -> None:
    for number in range(4):
        stop_when_it_writes(small, tmp_path, (signal.SIGINT, signal.SIGTERM)[number % 2])
        assert not [name for name in files(tmp_path) if not name.endswith(".trtm")]
        for name in files(tmp_path):
            load(tmp_path / name).verify()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ModelError("no such")], ids=repr)
def test_a_build_that_fails_leaves_nothing(
    error: Any, small: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(importing, "read", fail)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        trtmatte.build(small, out=tmp_path / "e.trtm", **SMALL)
    assert not files(tmp_path)


def test_progress_is_told_and_can_cancel(official: Path, own_cache: Path, rtx: dict[str, Any]) -> None:
    told: list[tuple[str, float]] = []

    def cancel(what: str, done: float) -> bool:
        told.append((what, done))
        return what == "reading"

    with pytest.raises(BuildCancelledError, match="network-0 was cancelled"):
        trtmatte.build(official, downsample_ratio=0.25, progress=cancel, **rtx)
    assert told[0] == ("reading", 0.0)
    assert told[-1][0] == "tensorrt-rtx network-0"
    assert not [name for name in files(own_cache) if name.startswith("engines")]


# ---------------------------------------------------------------------------------------------------------------------
# Validation


def test_errors_are_summed_up() -> None:
    random = np.random.default_rng(0)
    expected = random.random((20, 50, 60), np.float32)
    given = expected + random.normal(0, 0.01, expected.shape).astype(np.float32) * np.linspace(1, 3, 20)[:, None, None]
    errors = validation._Errors()
    for frame, truth in zip(given, expected, strict=True):
        errors.add(frame.astype(np.float32), truth)
    found, absolute = errors.to_json(), np.abs(given.astype(np.float32) - expected)
    assert found["mean"] == pytest.approx(absolute.mean(), rel=1e-5)
    assert found["max"] == pytest.approx(absolute.max(), rel=1e-6)
    assert found["p99.9"] == pytest.approx(np.quantile(absolute, 0.999), abs=2 / validation._BINS, rel=1e-2)
    assert found["drift"] == pytest.approx(absolute[-2:].mean() - absolute[:2].mean(), rel=1e-4)


def test_what_is_no_number_counts_as_wrong() -> None:
    errors = validation._Errors()
    errors.add(np.array([np.nan, np.inf, 0.5], np.float32), np.array([0.5, 0.5, 0.5], np.float32))
    assert errors.to_json()["max"] == 1
    assert errors.to_json()["mean"] == pytest.approx(2 / 3)


def test_validation_finds_what_is_wrong(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU form that gives half the alpha."""
    monkeypatch.setattr(validation, "FRAMES", 4)
    right = trtmatte.build(small, **SMALL)
    wrong = trtmatte.build(small, **SMALL)
    half = shrinking(0.25)
    half.graph.input[0].name, half.graph.node[0].input[0] = (right.program.networks[0].inputs[0],) * 2
    half.graph.output[0].name = half.graph.node[0].output[0] = right.program.networks[0].outputs[0]
    plan = engine_file.Plan(*engine_file.CPU_PLAN, {"network-0": half.SerializeToString()})
    found = validation.measure(wrong.with_plans([plan]))
    assert found["frames"] == 4
    assert found["measured"]["onnxruntime"]["pha"]["mean"] > 0.05
    assert found["measured"]["onnxruntime"]["fgr"]["max"] == 0
    assert "onnxruntime" not in validation.measure(right)["measured"]


def test_a_validated_engine_keeps_its_errors(
    official: Path, tmp_path: Path, rtx: dict[str, Any], compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "FRAMES", 3)
    given = {"size": (256, 144), "downsample_ratio": 0.5, **rtx}
    plain = trtmatte.build(official, **given)
    assert plain.manifest["errors"] == {}
    trtmatte.build(official, out=tmp_path / "e.trtm", validate=True, **given)
    assert len(compiled) == 1
    errors = load(tmp_path / "e.trtm").manifest["errors"]
    assert (errors["pictures"], errors["frames"]) == ("generated", 3)
    assert 0 < errors["measured"][validation.EMULATED]["pha"]["mean"] < 1e-2
    assert set(errors["measured"][validation.EMULATED]) == {"fgr", "pha"}
    assert ("tensorrt-rtx" in errors["measured"]) == (tensorrt.run_unavailable_reason("tensorrt-rtx") is None)
    assert set(errors["not_measured"]) == {"tensorrt-rtx"} - set(errors["measured"])
    monkeypatch.setattr(validation, "measure", refusing("it was to be taken from the cache"))
    assert trtmatte.build(official, validate=True, **given).manifest["errors"] == errors


def film(path: Path, count: int, size: tuple[int, int] = (66, 50)) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            picture = np.full((size[1], size[0], 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def pictures(folder: Path, count: int) -> Path:
    image = pytest.importorskip("PIL.Image")
    folder.mkdir()
    for number in range(count):
        image.fromarray(np.full((50, 66, 3), 20 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "make", [lambda folder: film(folder / "film.mp4", 5), lambda folder: pictures(folder / "p", 5)]
)
def test_frames_of_one_s_own(make: Any, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = make(tmp_path)
    errors = trtmatte.build(small, frames=frames, **SMALL).manifest["errors"]
    assert (errors["pictures"], errors["frames"]) == (frames.name, 5)
    found = list(validation._read(frames))
    assert [each.shape for each in found] == [(50, 66, 3)] * 5
    assert [int(each.mean().round(-1)) for each in found] == [0, 20, 40, 60, 80]


def test_other_frames_are_measured_again(small: Path, tmp_path: Path) -> None:
    frames = film(tmp_path / "film.mp4", 2)
    one = trtmatte.build(small, frames=frames, **SMALL)
    film(tmp_path / "film.mp4", 3)
    assert trtmatte.build(small, frames=frames, **SMALL).manifest["key"] != one.manifest["key"]


def test_frames_for_patches_are_cut_to_whole_ones(checkpoints: Any, tmp_path: Path) -> None:
    engine = trtmatte.build(checkpoints("bgmv2_refine_mobilenetv2"), size=(64, 48), refine_mode="full", **CPU)
    frames = list(validation._pairs(engine.program, film(tmp_path / "film.mp4", 3)))
    assert {frame.shape for frame, _ in frames} == {(48, 64, 3)}
    assert all(background is frames[0][0] for _, background in frames)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.mp4", None, "does not exist"),
        ("text.mp4", b"no film", "cannot be read"),
        ("empty", {}, "has no pictures"),
        ("folder", {"a.png": b"no picture"}, "cannot be read"),
    ],
)
def test_frames_that_cannot_be_read(name: str, content: Any, message: str, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
        for file, data in content.items():
            (path / file).write_bytes(data)
    with pytest.raises(SettingError, match=message):
        trtmatte.build(small, frames=path, **SMALL)


def test_frames_without_a_reader(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SettingError, match="pip install av"):
        trtmatte.build(small, frames=tmp_path / "film.mp4", **SMALL)


@pytest.mark.parametrize("size", [(1920, 1080), (101, 333), (8, 8)])
def test_generated_frames_have_a_figure_that_moves(size: tuple[int, int]) -> None:
    shots = list(itertools.islice(validation.generated(*size), 12))
    background = shots[0][1]
    assert all(frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8 for frame, _ in shots)
    covered = [np.abs(frame.astype(int) - background).max(axis=2) > 8 for frame, _ in shots]
    assert all(0.02 < each.mean() < 0.9 for each in covered)
    assert (covered[0] != covered[-1]).any()
    again = next(iter(validation.generated(*size)))
    np.testing.assert_array_equal(again[0], shots[0][0])


# ---------------------------------------------------------------------------------------------------------------------
# What a build needs


def test_asking_the_cache_imports_neither_onnx_nor_torch(small: Path) -> None:
    trtmatte.build(small, **SMALL)
    text = (
        "import sys, trtmatte, json\n"
        f"trtmatte.build({str(small)!r}, **{SMALL!r})\n"
        "print(json.dumps([name for name in ('onnx', 'torch', 'onnxruntime', 'openvino') if name in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


def test_an_exported_model_of_each_kind_is_recognised(tmp_path: Path) -> None:
    network = reference.network("rvm_mobilenetv3")
    onnx.save(exports.rvm(network), tmp_path / "rvm.onnx")
    engine = trtmatte.build(tmp_path / "rvm.onnx", size=(128, 96), downsample_ratio=0.5, **CPU)
    assert engine.manifest["family"] == "rvm"


@pytest.fixture(autouse=True)
def no_sessions_left() -> Iterator[None]:
    yield
    networks._shared.clear()
