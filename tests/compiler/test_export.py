"""A whole model as one graph: what it computes, against sessions; how TensorRT reads it; what is refused."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import trtmatte
from tests import real_models as models
from tests import reference
from tests.backends import fake_tensorrt as fake
from tests.compiler.building import model_here, shrinking
from tests.runtime.session import engines
from trtmatte import api, plugins
from trtmatte.api import Engine
from trtmatte.backends import driver, tensorrt
from trtmatte.compiler import export as exporting
from trtmatte.compiler import plans
from trtmatte.compiler.families import registry
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.functions import DOMAIN
from trtmatte.compiler.graph.reading import from_model
from trtmatte.compiler.options import Form
from trtmatte.errors import BackendError, SettingError
from trtmatte.format.program import Program
from trtmatte.format.stages import PLATE, State

pytest.importorskip("torch")

SIZE = (128, 96)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "rvm": ("rvm_mobilenetv3", {"downsample_ratio": 0.5}),
    "rvm, segmentation": ("rvm_mobilenetv3", {"downsample_ratio": 0.5, "segmentation": True}),
    "bgmv2, base": ("bgmv2_base_mobilenetv2", {}),
    "bgmv2, sampling": ("bgmv2_refine_mobilenetv2", {"refine_sample_pixels": 1600}),
    "bgmv2, more than there are": ("bgmv2_refine_mobilenetv2", {"refine_sample_pixels": 80_000}),
    "bgmv2, full": ("bgmv2_refine_mobilenetv2", {"refine_mode": "full"}),
    "modnet": ("modnet", {"input_size": (96, 64)}),
    "u2net": ("u2netp", {"input_size": (64, 64)}),
    "generic": ("generic", {}),
}
SLOW = ("rvm, segmentation", "bgmv2, more than there are")
CASES = [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in FAMILIES]
FRAMES = 4


def parts(case: str, batch: int = 1) -> tuple[Program, Mapping[str, onnx.ModelProto], Engine]:
    """A program, its networks, and the engine of them."""
    return _parts(case, batch)


@functools.lru_cache
def _parts(case: str, batch: int) -> tuple[Program, Mapping[str, onnx.ModelProto], Engine]:
    name, settings = FAMILIES[case]
    family = registry.family("generic" if name == "generic" else reference.family(name))
    chosen = family.checked(settings)
    if name == "generic":
        model = family.from_onnx(from_model(shrinking()), SIZE, batch, chosen)
    else:
        model = family.from_network(reference.network(name), name, SIZE, batch, chosen)
    program, networks = cut(model)
    named = {stage.name: network for stage, network in zip(program.networks, networks, strict=True)}
    return program, named, engines.of_graph(model)


def graph_of(program: Program, networks: Mapping[str, onnx.ModelProto], form: Form, precision: str) -> onnx.ModelProto:
    """The graph of an export in this precision."""
    kept = plans.keep_fp32(program, networks) if precision == "fp16" else None
    return exporting.graph(program, networks, form, kept, api._picture)


class Runner:
    """The graph in ONNX Runtime, which feeds its states back."""

    def __init__(self, graph: onnx.ModelProto, states: tuple[State, ...]) -> None:
        onnx.checker.check_model(graph)
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_outputs()]
        self._states = states
        values = {each.name: each for each in graph.graph.input}
        self.state = {state.input: np.zeros(*kind(values[state.input])) for state in states}

    def __call__(self, **pictures: np.ndarray) -> dict[str, np.ndarray]:
        made = dict(zip(self._names, self._session.run(None, {**pictures, **self.state}), strict=True))
        self.state = {state.input: made[state.output] for state in self._states}
        return made


def kind(value: onnx.ValueInfoProto) -> tuple[tuple[int, ...], np.dtype]:
    tensor = value.type.tensor_type
    return tuple(size.dim_value for size in tensor.shape.dim), onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)


def scenes(program: Program) -> Iterator[dict[str, np.ndarray]]:
    """Something bright that moves in front of noise, and for those that want it the noise alone."""
    width, height = program.size
    random = np.random.default_rng(0)
    background = random.integers(0, 120, (program.batch, height, width, 3), dtype=np.uint8)
    for number in range(FRAMES):
        frame = background.copy()
        frame[:, 20:80, 10 + 12 * number : 60 + 12 * number] += 120
        pictures = {"frame": frame, PLATE: background}
        yield {name: pictures[name] for name in program.pictures}


def compared(case: str, precision: str, batch: int = 1, **form: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Every output of every frame, from the graph and from a session."""
    program, networks, engine = parts(case, batch)
    graph = graph_of(program, networks, Form(**form), precision)
    run = Runner(graph, program.states)
    kept = {state.output for state in program.states}
    outputs = tuple(each.name for each in graph.graph.output if each.name not in kept)
    axes, dtype = form.get("layout", "HWC"), form.get("dtype", "uint8")
    more = {"background": form["background"]} if "background" in form else {}
    session = engine.session(
        backend="onnxruntime", outputs=outputs, dtype=dtype, layout=axes, color=form.get("color", "rgb"), **more
    )
    for pictures in scenes(program):
        given = {name: shaped(picture, axes, dtype) for name, picture in pictures.items()}
        expected, made = session(*given.values()), run(**given)
        for name in outputs:
            yield name, made[name], expected[name]
        for state in program.states:
            yield state.name, made[state.output], np.asarray(session.state[state.name])


def shaped(picture: np.ndarray, axes: str, dtype: str) -> np.ndarray:
    picture = picture if axes == "HWC" else picture.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(picture if dtype == "uint8" else (picture / 255).astype(dtype))


# ---------------------------------------------------------------------------------------------------------------------
# What it computes


@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_a_session_does(case: str) -> None:
    count = 0
    for name, made, expected in compared(case, "fp32"):
        count += 1
        assert made.shape == expected.shape, name
        assert made.dtype == expected.dtype, name
        if made.dtype == np.uint8:
            difference = np.abs(made.astype(int) - expected)
            assert difference.max() <= 1, name
            assert (difference > 0).mean() < 0.01, name
        else:
            np.testing.assert_allclose(made, expected, atol=1e-4, err_msg=name)
    assert count >= FRAMES


@pytest.mark.parametrize("case", CASES)
def test_in_float16_it_stays_near(case: str) -> None:
    """Where patches are chosen by what float16 rounds, other ones may be: there the mean alone says something."""
    chosen = case in ("bgmv2, sampling", "bgmv2, more than there are")
    for name, made, expected in compared(case, "fp16"):
        scale = 255 if made.dtype == np.uint8 else 1
        difference = np.abs(made.astype(np.float32) - expected.astype(np.float32)) / scale
        assert difference.mean() < 2e-3, name
        most = 0.02 if name == "fgr" else 0.01  # its colours may be estimated, from an alpha that is rounded
        assert chosen or difference.max() < most, name


@pytest.mark.parametrize(
    "form",
    [
        {"outputs": ("rgba",)},
        {"outputs": ("composite", "pha"), "background": "greenscreen"},
        {"outputs": ("composite",), "background": (0.5, 0.25, 1.0), "color": "bgr"},
        {"dtype": "float32", "layout": "CHW"},
        {"dtype": "float16", "color": "bgr"},
        {"outputs": ("pha",), "layout": "CHW"},
    ],
    ids=str,
)
def test_pictures_in_other_forms(form: dict[str, Any]) -> None:
    for case in ("rvm", "generic"):
        for name, made, expected in compared(case, "fp32", **form):
            assert made.shape == expected.shape, name
            assert made.dtype == expected.dtype, name
            steps = np.abs(made.astype(np.float32) - expected.astype(np.float32)).max()
            assert steps <= (1 if made.dtype == np.uint8 else 1e-3 if made.dtype == np.float16 else 1e-4), name


def test_a_picture_as_the_background(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "wall.png"
    image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    for _, made, expected in compared("generic", "fp32", outputs=("composite",), background=str(path)):
        assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("case", ["rvm", pytest.param("bgmv2, sampling", marks=pytest.mark.slow)])
def test_several_streams_in_lockstep(case: str) -> None:
    for name, made, expected in compared(case, "fp32", batch=2):
        assert len(made) == 2
        tolerance = 1 if made.dtype == np.uint8 else 1e-4
        assert np.abs(made.astype(np.float32) - expected.astype(np.float32)).max() <= tolerance, name


def test_the_example_in_cpp_names_the_tensors_of_plans() -> None:
    code = (Path(__file__).parents[2] / "examples" / "cpp" / "matte.cpp").read_text("utf-8")
    named = set(re.findall(r'tensors(?:\[|\.count\()"(\w+)"', code))
    assert named == {"frame", "plate", "rgba"}
    assert '{"r1", "r2", "r3", "r4"}' in code  # of the states' names, r1i and r1o
    found: set[str] = set()
    for case in ("bgmv2, sampling", "rvm"):
        program, networks, _ = parts(case)
        graph = graph_of(program, networks, Form(outputs=("rgba",)), "fp32").graph
        found |= {each.name for each in (*graph.input, *graph.output)}
    assert found >= {*named, *(f"r{level}{way}" for level in range(1, 5) for way in "io")}


def test_small_outputs_besides() -> None:
    """What a session gives of them, too."""
    names = ("pha", "pha_sm", "fgr_sm", "err_sm", "ref_sm")
    for name, made, expected in compared("bgmv2, sampling", "fp32", outputs=names):
        tolerance = 1 if made.dtype == np.uint8 else 1e-4
        assert np.abs(made.astype(np.float32) - expected.astype(np.float32)).max() <= tolerance, name


@pytest.mark.parametrize(("precision", "steps", "mean"), [("fp32", 1, 0.01), ("fp16", 64, 0.5)])
def test_the_real_rvm(precision: str, steps: int, mean: float, tmp_path: Path) -> None:
    """A film, as a file for trtexec and as a session. The tolerances of float16 are those of docs/precision.md."""
    path = models.model("rvm-mobilenetv3")
    frames = [frame for frame, _ in zip(models.clip(256, 144), range(6), strict=False)]
    options = {"size": (256, 144), "downsample_ratio": 0.5}
    made = trtmatte.export(path, out=tmp_path / "rvm.onnx", precision=precision, **options)
    run = Runner(onnx.load(made.files[0]), made.program.states)
    session = engines.rvm(256, 144, 0.5).session(backend="onnxruntime")
    for frame in frames:
        expected, ours = session(frame), run(frame=frame[None])
        for name in ("fgr", "pha"):
            difference = np.abs(ours[name][0].astype(int) - expected[name])
            assert difference.max() <= steps, name
            assert difference.mean() < mean, name
    assert 0.1 < (ours["pha"] > 128).mean() < 0.9


# ---------------------------------------------------------------------------------------------------------------------
# What TensorRT is given


@pytest.mark.parametrize("case", ["rvm", "bgmv2, sampling", "modnet"])
def test_what_plugins_have_to_know_stands_at_the_nodes(case: str) -> None:
    program, networks, _ = parts(case)
    graph = graph_of(program, networks, Form(outputs=("pha",)), "fp16").graph
    ops = [node for node in graph.node if node.domain == DOMAIN]
    assert [node.op_type for node in ops] == [
        f"TrtMatte{stage.op}" for stage in program.stages if stage not in program.networks
    ]
    for node in ops:
        settings = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert settings["plugin_namespace"] == b"trtmatte"
        assert settings["plugin_version"] == b"1"
        assert all(node.output)
    assert settings["matte_wanted"] == [0, 1, 0, 0]
    assert settings["matte_type"] == onnx.TensorProto.FLOAT16
    assert all(min(kind(value)[0]) > 0 for value in (*graph.input, *graph.output))
    bytes_at = [each for each in (*graph.input, *graph.output) if kind(each)[1] == np.uint8]
    touching = [node for node in graph.node for each in bytes_at if each.name in (*node.input, *node.output)]
    assert {node.op_type for node in touching} == {"Cast"}


@pytest.mark.slow
def test_no_more_patches_are_asked_for_than_there_are() -> None:
    program, networks, _ = parts("bgmv2, more than there are")
    graph = graph_of(program, networks, Form(), "fp16").graph
    (select,) = [node for node in graph.node if node.op_type == "TrtMattePatchSelect"]
    settings = {each.name: onnx.helper.get_attribute_value(each) for each in select.attribute}
    assert settings["k"] == settings["capacity"] == SIZE[0] * SIZE[1] // 16


@pytest.mark.parametrize("case", ["rvm", "bgmv2, sampling", "u2net"])
def test_tensorrt_reads_it(case: str) -> None:
    """By the function bodies, since the real parser that can be had here is that of TensorRT-RTX."""
    tensorrt = pytest.importorskip("tensorrt_rtx")
    program, networks, _ = parts(case)
    graph = graph_of(program, networks, Form(outputs=("rgba",)), "fp16")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = tensorrt.Builder(logger).create_network(flags)
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse(graph.SerializeToString()), parser.get_error(0).desc()
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    for found, described in ((inputs, graph.graph.input), (outputs, graph.graph.output)):
        expected = {each.name: kind(each) for each in described}
        assert {each.name: (tuple(each.shape), np.dtype(tensorrt.nptype(each.dtype))) for each in found} == expected


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return model_here(tmp_path, monkeypatch)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> fake.World:
    """A stand-in for TensorRT, a GPU and the plugin library."""
    world = fake.World()
    library = tmp_path / "libtrtmatte_plugins.so"
    library.write_bytes(b"code")
    monkeypatch.setitem(sys.modules, "tensorrt", fake.bindings(world, "tensorrt", "10.16.1"))
    monkeypatch.setattr(driver, "_driver", lambda: fake.Driver())
    monkeypatch.setattr(exporting, "_library", lambda: library)
    world.layers = [
        fake.Layer(name, fake.LayerType.PLUGIN_V3) for name in ("FrameSample", "ForegroundEstimate", "MatteUpsample")
    ]
    return world


SMALL: dict[str, Any] = {"family": "generic", "size": (64, 48)}


def test_a_plan_is_built_with_the_plugins(world: fake.World, model: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    made = trtmatte.export(model, out="m.plan", progress=lambda *each: seen.append(each), **SMALL)
    assert made.files == (Path("m.plan"),)
    assert Path("m.plan").read_bytes() == b"a plan"
    assert ("load_library", str(tmp_path / "libtrtmatte_plugins.so")) in world.said
    assert [name for name, _ in seen] == ["reading", "reading", "building"]
    assert sorted(path.name for path in model.parent.iterdir()) == ["m.plan", "model.onnx"]


def test_ops_that_did_not_become_plugins(world: fake.World, model: Path) -> None:
    """Their bodies would be built in their place, slowly, and nobody would know."""
    world.layers.pop()
    with pytest.raises(BackendError, match="2 of 3 ops became plugins"):
        trtmatte.export(model, out="m.plan", **SMALL)
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_a_build_that_fails_leaves_what_was_there(world: fake.World, model: Path) -> None:
    Path("m.plan").write_bytes(b"an earlier one")
    world.build_errors = ["no memory"]
    with pytest.raises(BackendError, match=r"cannot build the plan: no memory\. Build an engine instead"):
        trtmatte.export(model, out="m.plan", triton=".", **SMALL)
    assert sorted(path.name for path in model.parent.iterdir()) == ["m.plan", "model.onnx"]
    assert Path("m.plan").read_bytes() == b"an earlier one"


def test_without_the_library(world: fake.World, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_library", lambda: None)
    with pytest.raises(BackendError, match=r"no plugin library: .* or export the graph with --export onnx"):
        trtmatte.export(model, out="m.plan", **SMALL)


def test_without_tensorrt(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tensorrt, "build_unavailable_reason", lambda target: "TensorRT is not installed: pip install tensorrt"
    )
    with pytest.raises(BackendError, match=r"pip install tensorrt; or export the graph with --export onnx"):
        trtmatte.export(model, out="m.plan", **SMALL)
    made = trtmatte.export(model, out="m.onnx", **SMALL)
    assert [each.name for each in onnx.load("m.onnx").graph.input] == ["frame"]
    assert made.notes == ()


def test_more_patches_than_tensorrt_selects_by_itself() -> None:
    program, _, _ = parts("bgmv2, sampling")
    assert exporting._notes(program) == ()
    (note,) = exporting._notes(selecting(program, k=5000, capacity=768).for_frame(1920, 1080))
    assert note.startswith("it selects 5000 patches a frame, which TensorRT builds with the plugins alone")


def selecting(program: Program, **settings: Any) -> Program:
    """The same with another selection of patches."""
    stages = (
        replace(stage, attributes={**stage.attributes, **settings}) if "indices" in stage.outputs else stage
        for stage in program.stages
    )
    return replace(program, stages=tuple(stages))


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tensorrt-rtx"}, "which has no plugins, .*: the plans of an engine need no plugins"),
        ({"target": "onnxruntime"}, "exports are for tensorrt alone: leave the target out"),
        ({"outputs": "alpha"}, "outputs is alpha; expected each once, of fgr, pha, rgba, composite"),
        ({"outputs": ["pha", "pha"]}, "outputs is pha, pha; expected each once"),
        ({"outputs": "rgba,alpha"}, "outputs is rgba, alpha; expected each once"),
        ({"outputs": "composite"}, "expected a composite and the colour"),
        ({"background": "red"}, "expected a composite and the colour"),
        ({"outputs": "composite", "background": "blur"}, "one colour or one picture: choose"),
        ({"outputs": "composite", "background": "reddish"}, "background is 'reddish', which is no file either"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected uint8, float16, float32"),
        ({"layout": "WHC"}, "layout is 'WHC'; expected HWC, CHW"),
        ({"color": "rbg"}, "color is 'rbg'; expected rgb, bgr; did you mean"),
        ({"validate": True}, "validate is for engines: build one with it"),
        (
            {"out": "m.trtm"},
            r"out is m\.trtm; expected a name that ends in \.plan for the plan or in \.onnx for its graph",
        ),
        ({"out": None}, "neither out nor triton is given"),
        ({"triton": "no/where"}, "there is no folder no: make it first"),
        ({"kind": "triton", "triton": "models"}, "expected one model repository: leave triton out"),
        ({"out": "nowhere/m.onnx"}, "there is no folder nowhere; make it first"),
    ],
    ids=str,
)
def test_what_is_refused(options: dict[str, Any], message: str, model: Path) -> None:
    with pytest.raises(SettingError, match=message):
        trtmatte.export(model, **{"out": "m.onnx", **SMALL, **options})
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_thresholding_has_no_fixed_shape() -> None:
    program, networks, _ = parts("bgmv2, more than there are")
    with pytest.raises(SettingError, match=r"Choose sampling, or full, .*, or build an engine"):
        graph_of(selecting(program, mode=1, threshold=0.1), networks, Form(), "fp16")


def test_a_library_for_another_tensorrt(world: fake.World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "tensorrt", fake.bindings(world, "tensorrt", "11.4.0.106"))
    monkeypatch.setattr(plugins, "library_path", lambda: tmp_path / "lib.so")
    monkeypatch.setattr(plugins, "tensorrt_version", lambda path: (10, 16))
    with pytest.raises(BackendError, match=r"lib\.so is for TensorRT 10, and here is 11\.4\.0\.106"):
        exporting._library()
    monkeypatch.setattr(plugins, "tensorrt_version", lambda path: (11, 1))
    assert exporting._library() == tmp_path / "lib.so"


def test_the_old_module_works_with_a_notice(model: Path, tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="trtmatte.single is now called trtmatte.export"):
        old = trtmatte.single
    assert old.build is trtmatte.export
    assert old.build(model, out=tmp_path / "m.onnx", **SMALL).files == (tmp_path / "m.onnx",)
