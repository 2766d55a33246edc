"""Plans by the real TensorRT-RTX; TensorRT itself, and all that needs a GPU, against a stand-in with the same names."""

from __future__ import annotations

import ast
import ctypes
import enum
import gc
import importlib.util
import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests import real_models as models
from tests import reference
from tests.backends import fake_tensorrt as fake
from trtmatte.backends import driver, tensorrt
from trtmatte.backends.tensorrt import bindings
from trtmatte.backends.tensorrt.network import Network
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families import registry
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.precision import rule_of, to_fp16
from trtmatte.errors import BackendError, ModelError, SettingError
from trtmatte.format.stages import PATCHES

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
SMALL = [1, 3, 8, 8]


def network(nodes, inputs, outputs, constants=()) -> bytes:
    def values(described):
        return [helper.make_tensor_value_info(name, *kind) for name, kind in described.items()]

    weights = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def convolution(batch: int | str = 1, channels: int = 3) -> bytes:
    weights = np.ones((4, channels, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="Convolve", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="Rectify"),
    ]
    shape = [batch, *SMALL[1:]]
    return network(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, [batch, 4, 8, 8])}, {"w": weights})


# ---------------------------------------------------------------------------------------------------------------------
# The real TensorRT-RTX


@pytest.fixture
def rtx() -> str:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    return "tensorrt-rtx"


@pytest.fixture(scope="module")
def rvm_hd() -> ModelProto:
    """The network stage of the official RVM file for frames of 1920x1080."""
    model = importing.read(models.model("rvm-mobilenetv3"), size=(1920, 1080), downsample_ratio=0.25)
    _, (stage,) = cut(model)
    return stage


@pytest.mark.parametrize("type_", ["float32", "float16"])
def test_builds_rvm(rtx, rvm_hd, type_):
    model = to_fp16(rvm_hd, rule_of(registry.keep_fp32("rvm"))) if type_ == "float16" else rvm_hd
    started = time.monotonic()
    plan = tensorrt.build_plan(model.SerializeToString(), target=rtx, name="network-0")
    assert time.monotonic() - started < 30
    assert len(plan.data) > sum(len(each.raw_data) for each in model.graph.initializer) / 2
    tensors = {**plan.info["inputs"], **plan.info["outputs"]}
    assert tensors["src_sm"] == [type_, 1, 3, 270, 480]
    assert tensors["r1i"] == tensors["r1o"] == [type_, 1, 16, 135, 240]
    for name, (kind, _, _, height, width) in tensors.items():
        assert kind == type_, name
        assert height <= 270, name
        assert width <= 480, name


def test_float16_makes_a_smaller_plan(rtx, rvm_hd):
    half = to_fp16(rvm_hd, rule_of(registry.keep_fp32("rvm")))
    sizes = [len(tensorrt.build_plan(each.SerializeToString(), target=rtx).data) for each in (half, rvm_hd)]
    assert sizes[0] < 0.8 * sizes[1]


FAMILIES = {
    "modnet": {"input_size": (64, 64)},
    "u2netp": {"input_size": (64, 64)},
    "bgmv2_base_mobilenetv2": {},
    "bgmv2_refine_mobilenetv2": {"refine_mode": "thresholding"},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_builds_every_family_in_float16(rtx, name):
    """Patches come in numbers that are known only once they are selected: up to one for each 4x4 pixels."""
    family = registry.family(reference.family(name))
    chosen = family.checked(FAMILIES[name])
    program, stages = cut(family.from_network(reference.network(name), name, (128, 96), 1, chosen))
    most = program.capacity
    for network, stage in zip(program.networks, stages, strict=True):
        patches = {
            each: program.tensors[each].shape[1:]
            for each in network.inputs
            if program.tensors[each].shape[0] == PATCHES
        }
        bounds = {each: tuple((count, *rest) for count in (1, most // 2, most)) for each, rest in patches.items()}
        half = to_fp16(stage, rule_of(registry.keep_fp32(reference.family(name))))
        plan = tensorrt.build_plan(half.SerializeToString(), target=rtx, name=network.name, bounds=bounds)
        assert set(plan.info["inputs"]) == set(network.inputs)
        assert {kind for kind, *_ in plan.info["inputs"].values()} == {"float16"}
        assert all((shape[0] == -1) == (each in patches) for each, (_, *shape) in plan.info["inputs"].items())


def test_a_key_is_that_of_its_plan_in_every_process(rtx, tmp_path):
    model = convolution()
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    program = (
        "import pathlib, sys; from trtmatte.backends.tensorrt import plan_key;"
        "print(plan_key(pathlib.Path(sys.argv[1]).read_bytes(), target='tensorrt-rtx'))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert tensorrt.build_plan(model, target=rtx).key == tensorrt.plan_key(model, target=rtx)
    assert elsewhere.stdout.strip() == tensorrt.plan_key(model, target=rtx)


def test_whatever_changes_the_plan_changes_its_key(rtx, monkeypatch):
    model, bounds = convolution("n"), {"x": (SMALL, [4, *SMALL[1:]], [16, *SMALL[1:]])}
    keys = [
        tensorrt.plan_key(model, target=rtx, bounds=bounds),
        tensorrt.plan_key(model, target=rtx, bounds={"x": (SMALL, [8, *SMALL[1:]], [16, *SMALL[1:]])}),
        tensorrt.plan_key(model, target=rtx, bounds=bounds, compute_capabilities=["8.6"]),
        tensorrt.plan_key(model, target=rtx, bounds=bounds, compute_capabilities=["8.6", "8.9", "12.0"]),
        tensorrt.plan_key(model + b"\0", target=rtx, bounds=bounds),
    ]
    monkeypatch.setattr(bindings, "version", lambda target: "1.8.0")
    keys.append(tensorrt.plan_key(model, target=rtx, bounds=bounds))
    assert len(set(keys)) == len(keys)


def test_the_order_of_compute_capabilities_does_not_matter(rtx):
    keys = [tensorrt.plan_key(b"m", target=rtx, compute_capabilities=each) for each in (["8.9", "8.6"], ["8.6", "8.9"])]
    assert keys[0] == keys[1]


def test_compute_capabilities_shape_the_plan(rtx):
    plans = [tensorrt.build_plan(convolution(), target=rtx, compute_capabilities=each) for each in (["7.5"], ["8.6"])]
    assert plans[0].data != plans[1].data
    assert [plan.environment["compute_capabilities"] for plan in plans] == [["7.5"], ["8.6"]]


def test_an_unknown_compute_capability(rtx):
    with pytest.raises(SettingError, match=r"9\.0 is not among .*8\.6"):
        tensorrt.build_plan(convolution(), target=rtx, compute_capabilities=["9.0"])


def test_a_batch_that_is_not_fixed(rtx):
    bounds = {"x": (SMALL, [4, *SMALL[1:]], [16, *SMALL[1:]])}
    plan = tensorrt.build_plan(convolution("n"), target=rtx, bounds=bounds)
    assert plan.info["inputs"]["x"] == ["float32", -1, 3, 8, 8]


@pytest.mark.parametrize(
    ("batch", "bounds"), [("n", None), (1, {"x": (SMALL, SMALL, SMALL)})], ids=["none", "needless"]
)
def test_bounds_that_do_not_fit_the_model(rtx, batch, bounds):
    with pytest.raises(ModelError, match="expected bounds of exactly those"):
        tensorrt.build_plan(convolution(batch), target=rtx, bounds=bounds)


def test_an_error_while_reading_names_the_node(rtx):
    wrong = convolution(channels=5)
    with pytest.raises(BackendError, match=r"network-1 because of node Convolve \(Conv\): .*Kernel weight") as caught:
        tensorrt.build_plan(wrong, target=rtx, name="network-1")
    assert "TensorRT-RTX 1." in str(caught.value)


def test_an_error_while_reading_names_a_node_without_a_name(rtx):
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Col2Im", ["r", "k", "k"], ["y"])]
    model = network(nodes, {"x": (FLOAT, [1, 9, 4])}, {"y": (FLOAT, None)}, {"k": np.array([5, 5])})
    with pytest.raises(BackendError, match=r"node 1 \(Col2Im\), which has no name"):
        tensorrt.build_plan(model, target=rtx)


def test_an_error_while_building_names_the_node(rtx):
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="First"), helper.make_node("TopK", ["r", "k"], ["y", "i"])]
    nodes[1].name = "Best"
    model = network(nodes, {"x": (FLOAT, [1, 9000])}, {"y": (FLOAT, [1, 5000])}, {"k": np.array([5000])})
    with pytest.raises(BackendError, match=r"because of node Best: .*K exceeds the maximum value allowed"):
        tensorrt.build_plan(model, target=rtx)


def test_types_are_taken_as_they_stand(rtx):
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=HALF), helper.make_node("Add", ["h", "x"], ["y"], name="Mix")]
    model = network(nodes, {"x": (FLOAT, SMALL)}, {"y": (FLOAT, SMALL)})
    with pytest.raises(BackendError, match=r"node Mix \(Add\).*Half and Float"):
        tensorrt.build_plan(model, target=rtx)


def test_what_is_no_model(rtx):
    with pytest.raises(BackendError, match="Failed to parse the ONNX model"):
        tensorrt.build_plan(b"not a model", target=rtx)


def test_progress_goes_from_nothing_to_all(rtx):
    seen: list[tuple[str, float]] = []
    tensorrt.build_plan(convolution(), target=rtx, progress=lambda *each: seen.append(each))
    done = [fraction for _, fraction in seen]
    assert done == sorted(done)
    assert done[0] < 0.1
    assert done[-1] == 1
    assert len({title for title, _ in seen}) > 3


def test_progress_can_cancel(rtx, rvm_hd):
    calls = []

    def stop(title: str, done: float) -> bool:
        calls.append(done)
        return done < 0.1

    with pytest.raises(tensorrt.BuildCancelledError, match="the build of network-0 was cancelled"):
        tensorrt.build_plan(rvm_hd.SerializeToString(), target=rtx, name="network-0", progress=stop)
    assert calls[-1] < 1
    assert tensorrt.build_plan(convolution(), target=rtx).data


def test_an_error_in_progress_is_raised(rtx):
    def fail(title: str, done: float) -> None:
        raise ZeroDivisionError("the bar broke")

    with pytest.raises(ZeroDivisionError, match="the bar broke"):
        tensorrt.build_plan(convolution(), target=rtx, progress=fail)


def test_interrupting(rtx, rvm_hd):
    """Ctrl-C once the build is under way: the builder stops early, and the interruption is what is raised."""
    calls: list[float] = []

    def interrupt(title: str, done: float) -> None:
        calls.append(done)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        tensorrt.build_plan(rvm_hd.SerializeToString(), target=rtx, progress=interrupt)
    assert len(calls) < 50


def test_the_plan_of_another_kind_of_file_is_refused(rtx):
    with pytest.raises(BackendError, match="TensorRT-RTX cannot load the plan of network-0"):
        tensorrt.LoadedPlan(b"this is no plan", target=rtx, name="network-0")


def test_plugins_are_not_for_rtx(rtx, tmp_path):
    with pytest.raises(SettingError, match="plugins are for the target tensorrt"):
        tensorrt.build_plan(convolution(), target=rtx, plugins=tmp_path / "library.so")


# ---------------------------------------------------------------------------------------------------------------------
# What is missing


def test_importing_it_imports_no_binding():
    program = (
        "import sys, trtmatte.backends.tensorrt;"
        "print([each for each in ('tensorrt', 'tensorrt_rtx', 'onnx', 'torch') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("target", "package"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt-rtx")])
def test_bindings_that_are_missing(monkeypatch, target, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert f"is not installed: pip install --upgrade {package}" in str(tensorrt.build_unavailable_reason(target))
    assert tensorrt.targets_available() == []
    with pytest.raises(BackendError, match=f"pip install --upgrade {package}"):
        tensorrt.build_plan(convolution(), target=target)


def test_bindings_that_are_too_old(monkeypatch, world):
    monkeypatch.setitem(sys.modules, "tensorrt", fake.bindings(world, "tensorrt", "8.6.1"))
    assert "TensorRT 8.6.1 is installed; expected 10.3 or later" in str(tensorrt.build_unavailable_reason("tensorrt"))


def test_bindings_without_their_library(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert "cannot be loaded (libnvinfer.so.10" in str(tensorrt.build_unavailable_reason("tensorrt"))


def test_an_unknown_target():
    with pytest.raises(BackendError, match="target is 'tpu'; expected one of tensorrt, tensorrt-rtx"):
        tensorrt.build_unavailable_reason("tpu")


def test_no_driver(monkeypatch, world):
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setitem(sys.modules, "tensorrt", fake.bindings(world, "tensorrt", "10.16.1"))
    monkeypatch.setattr(ctypes, "CDLL", missing)
    reason = str(tensorrt.build_unavailable_reason("tensorrt"))
    assert "there is no NVIDIA driver" in reason
    assert "or build for tensorrt-rtx" in reason


# ---------------------------------------------------------------------------------------------------------------------
# TensorRT, and what needs a GPU, against the stand-in


@pytest.fixture
def world() -> fake.World:
    return fake.World()


@pytest.fixture
def gpu(monkeypatch) -> None:
    monkeypatch.setattr(driver, "_driver", lambda: fake.Driver())


@pytest.fixture(params=["10.3.0", "11.4.0.106"])
def full(request, monkeypatch, world, gpu) -> str:
    """TensorRT in its oldest and its newest version, in a process that has loaded no plugins."""
    monkeypatch.setattr("trtmatte.backends.tensorrt.build._LOADED", set())
    monkeypatch.setitem(sys.modules, "tensorrt", fake.bindings(world, "tensorrt", request.param))
    return "tensorrt"


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def either(request, monkeypatch, world, gpu) -> str:
    version = {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1.116"}[request.param]
    module = request.param.replace("-", "_")
    monkeypatch.setitem(sys.modules, module, fake.bindings(world, module, version))
    return str(request.param)


STUB = Path(__file__).parents[2] / "typings" / "tensorrt.pyi"


def declared_names() -> set[tuple[str, str]]:
    """Every class and name of the stub."""
    names: set[tuple[str, str]] = set()
    for kind in ast.parse(STUB.read_text()).body:
        if isinstance(kind, ast.ClassDef):
            for member in kind.body:
                name = member.target if isinstance(member, ast.AnnAssign) else member
                names.add((kind.name, getattr(name, "id", "") or getattr(name, "name", "")))
    return names


def test_the_stand_in_has_names_of_the_bindings_alone():
    real = {"IBuilder": "Builder", "IOnnxParser": "OnnxParser", "IRuntime": "Runtime"}
    real |= {"RtxExecutionContext": "IExecutionContext", "Layer": "ILayer", "NetworkTensor": "ITensor"}
    own = ("World", "Driver", "Severity")
    names = set()
    for name, kind in vars(fake).items():
        if inspect.isclass(kind) and kind.__module__ == fake.__name__ and name not in own:
            members = kind.__members__ if issubclass(kind, enum.Enum) else vars(kind)
            names |= {(real.get(name, name), member) for member in members if not member.startswith("_")}
    assert names - declared_names() == set()
    assert len(names) > 60


def test_the_stub_describes_tensorrt_rtx(rtx):
    command = [sys.executable, STUB.parents[1] / "tools" / "tensorrt_stub.py", "--check", "tensorrt_rtx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_building_with_tensorrt(full, world):
    plan = tensorrt.build_plan(b"model", target=full, name="network-0")
    strongly_typed = 1 << (1 if tensorrt.version(full).startswith("10.") else 0)
    assert ("create_network", strongly_typed) in world.said
    assert world.config.flags == set()
    assert world.config.profiling_verbosity is fake.ProfilingVerbosity.DETAILED
    assert plan.data == b"a plan"
    assert plan.environment["gpu"] == {
        "name": "A card",
        "capability": "8.6",
        "processors": 28,
        "memory": 12 << 30,
        "ecc": False,
    }
    assert plan.info["network_layers"] == 2
    assert plan.info["inputs"] == {"x": ["float16", *SMALL]}


def test_tf32_is_off_unless_it_is_asked_for(either, world):
    plain, rounded = (tensorrt.build_plan(b"model", target=either, tf32=tf32) for tf32 in (False, True))
    assert "TF32" in world.config.flags
    assert rounded.key == tensorrt.plan_key(b"model", target=either, tf32=True) != plain.key
    tensorrt.build_plan(b"model", target=either)
    assert "TF32" not in world.config.flags


def test_a_gpu_is_current_while_it_is_used_and_then_what_was(gpu, monkeypatch):
    card = fake.Driver()
    card.current = 7
    monkeypatch.setattr(driver, "_driver", lambda: card)
    with driver.current():
        assert card.current == 0xC0DE
    assert card.current == 7


def test_the_gpu_is_part_of_the_key(full, monkeypatch):
    key = tensorrt.plan_key(b"model", target=full)
    monkeypatch.setattr(driver, "_driver", lambda: fake.Driver(name="Another card"))
    assert tensorrt.plan_key(b"model", target=full) != key


def test_the_plugin_library_is_part_of_the_key(full, tmp_path):
    library = tmp_path / "plugins.so"
    keys = {tensorrt.plan_key(b"model", target=full)}
    for content in (b"one", b"two"):
        library.write_bytes(content)
        keys.add(tensorrt.plan_key(b"model", target=full, plugins=library))
    assert len(keys) == 3


def test_plugins_are_loaded_once_and_must_be_used(full, world, tmp_path):
    library = tmp_path / "plugins.so"
    library.write_bytes(b"code")
    crop = helper.make_node("TrtMattePatchCrop", ["x"], ["y"], domain="trtmatte")
    one = network([crop], {"x": (FLOAT, SMALL)}, {"y": (FLOAT, SMALL)})
    for _ in range(2):
        tensorrt.build_plan(one, target=full, plugins=library)
    assert world.said.count(("load_library", str(library.resolve()))) == 1
    world.layers.pop()
    with pytest.raises(BackendError, match=r"0 of 1 ops became plugins \(TrtMattePatchCrop\)"):
        tensorrt.build_plan(one, target=full, plugins=library)


def test_timings_are_kept(full, world, tmp_path):
    cache = tmp_path / "folder" / "timings"
    tensorrt.build_plan(b"model", target=full, timing_cache=cache)
    assert cache.read_bytes() == b" and more"
    world.timing_caches.add(b" and more")
    tensorrt.build_plan(b"model", target=full, timing_cache=cache)
    assert cache.read_bytes() == b" and more and more"
    assert os.listdir(cache.parent) == ["timings"]


def test_timings_of_another_gpu_are_replaced(full, tmp_path):
    cache = tmp_path / "timings"
    cache.write_bytes(b"from elsewhere")
    tensorrt.build_plan(b"model", target=full, timing_cache=cache)
    assert cache.read_bytes() == b" and more"


def test_a_failed_build_names_the_node(full, world, tmp_path):
    world.build_errors = ["Error Code 10: Could not find any implementation for node Conv_8.", "Conv_81 is not it"]
    world.layers = [fake.Layer(name, fake.LayerType.CONVOLUTION) for name in ("Conv_8", "Conv_9")]
    with pytest.raises(BackendError, match="cannot build network because of node Conv_8: Error Code 10: Could not"):
        tensorrt.build_plan(b"model", target=full, timing_cache=tmp_path / "timings")
    assert os.listdir(tmp_path) == []


def test_a_verbose_build_reports_the_layers(full):
    plan = tensorrt.build_plan(b"model", target=full, verbose=True)
    assert plan.info["layers"] == [{"Name": "Conv_8 + Relu_9"}]


def test_a_verbose_build_says_why_it_cannot(rtx, monkeypatch):
    def none() -> None:
        raise BackendError("there is no NVIDIA driver")

    monkeypatch.setattr(driver, "_driver", none)
    plan = tensorrt.build_plan(convolution(), target=rtx, verbose=True)
    assert plan.info["layers"] == []
    assert "there is no NVIDIA driver" in plan.info["layers_note"]


def test_an_engine_tells_its_tensors(either):
    engine = tensorrt.LoadedPlan(memoryview(b"a plan"), target=either)
    assert engine.tensors == {
        "x": tensorrt.Tensor("float16", (1, 3, 8, 8), True),
        "y": tensorrt.Tensor("float16", (1, 3, 8, 8), False),
    }
    assert engine.scratch_size == 1000


def test_an_engine_that_cannot_be_loaded(either):
    with pytest.raises(BackendError, match=r"cannot load the plan of network-2 \(the plan is of another version\)"):
        tensorrt.LoadedPlan(b"another", target=either, name="network-2")


def test_an_engine_with_a_tensor_on_the_host(either, world):
    world.location = fake.TensorLocation.HOST
    with pytest.raises(BackendError, match="reads or writes x on the host"):
        tensorrt.LoadedPlan(b"a plan", target=either)


def test_scratch_memory_is_the_callers(either, world):
    tensorrt.LoadedPlan(b"a plan", target=either).context()
    managed = fake.ExecutionContextAllocationStrategy.USER_MANAGED
    if either == "tensorrt":
        assert world.strategy is managed
    else:
        assert world.strategy.strategy is managed
        assert world.strategy.cuda_graph_strategy is fake.CudaGraphStrategy.DISABLED
        kernels = world.strategy.dynamic_shapes_kernel_specialization_strategy
        assert kernels is fake.DynamicShapesKernelSpecializationStrategy.EAGER


def test_a_frame(either, world):
    context = tensorrt.LoadedPlan(b"a plan", target=either).context()
    context.use_scratch(0x1000, 1000)
    context.bind({"x": 0x2000, "y": 0x3000})
    context.enqueue(7)
    assert world.said[-4:] == [("memory", 0x1000, 1000), ("address", "x", 0x2000), ("address", "y", 0x3000), ("run", 7)]
    assert context.can_capture(7)
    assert context.can_capture(0) == (either == "tensorrt")


def test_a_network_that_cannot_be_captured_says_so(either, world):
    plan = tensorrt.LoadedPlan(b"a plan", target=either, name="network-3")
    arrays = {
        name: SimpleNamespace(address=0x2000, nbytes=1000, shape=tensor.shape) for name, tensor in plan.tensors.items()
    }
    for cuda_stream in (0, 7):
        network = Network(plan, SimpleNamespace(cuda_stream=cuda_stream), SimpleNamespace(address=0x1000, nbytes=1000))
        network.bind({"x": arrays["x"]}, {"y": arrays["y"]})
        refused = either == "tensorrt-rtx" and cuda_stream == 0
        expected = "network-3 of TensorRT-RTX cannot be captured now" if refused else ""
        assert network.capture_obstacle() == expected


@pytest.mark.parametrize(("address", "size"), [(0x1010, 1000), (0x1000, 999)], ids=["unaligned", "too small"])
def test_scratch_memory_that_does_not_do(either, world, address, size):
    context = tensorrt.LoadedPlan(b"a plan", target=either).context()
    with pytest.raises(BackendError, match="expected at least 1000, at a multiple of 256"):
        context.use_scratch(address, size)
    assert not [each for each in world.said if each[0] == "memory"]


def test_addresses_of_other_tensors(either):
    context = tensorrt.LoadedPlan(b"a plan", target=either).context()
    with pytest.raises(BackendError, match="has the tensors x, y; addresses are given of x, z"):
        context.bind({"x": 1, "z": 2})


def test_a_driver_that_is_too_old(either, world, tmp_path):
    """The bindings raise a TypeError for a builder; for a runtime they give an object that must not be deleted."""
    world.start_error = "CUDA initialization failure with error: 35"
    for start in (
        lambda: tensorrt.build_plan(convolution(), target=either),
        lambda: tensorrt.LoadedPlan(b"a plan", target=either),
    ):
        with pytest.raises(
            BackendError, match=r"does not start \(CUDA .* 35\): update the NVIDIA driver, if nvidia-smi"
        ):
            start()
    gc.collect()
    assert not world.deleted


def test_an_error_that_does_not_keep_the_runtime_from_starting(either, world):
    """Such as one that another thread reports at the same time."""
    world.while_starting = lambda: bindings.log(either).native.log(fake.ILogger.ERROR, "elsewhere")
    assert tensorrt.LoadedPlan(b"a plan", target=either).tensors


def test_a_shape_that_is_not_fixed(either, world):
    world.input_shape = (-1, 3, 8, 8)
    context = tensorrt.LoadedPlan(b"a plan", target=either).context()
    addresses = {"x": 0x2000, "y": 0x3000}
    with pytest.raises(BackendError, match="the shape of x is not given"):
        context.bind(addresses)
    with pytest.raises(BackendError, match="dimension 0 of x is 17, above 16"):
        context.bind(addresses, {"x": (17, 3, 8, 8)})
    context.bind(addresses, {"x": (5, 3, 8, 8)})
    assert context.shape("y") == (5, 3, 8, 8)


def test_work_that_fails(either, world):
    context = tensorrt.LoadedPlan(b"a plan", target=either).context()
    context.bind({"x": 0x2000, "y": 0x3000})
    world.run_fails = True
    with pytest.raises(BackendError, match=r"cannot run network \(an illegal address\)"):
        context.enqueue(7)


def test_a_context_without_memory(either, world):
    world.no_memory = True
    with pytest.raises(BackendError, match="is there enough free memory"):
        tensorrt.LoadedPlan(b"a plan", target=either).context()


def test_compiled_kernels_are_kept_by_rtx_alone(either, world):
    engine = tensorrt.LoadedPlan(b"a plan", target=either, runtime_cache=b"of last time")
    assert engine.runtime_cache() == (b"kernels" if either == "tensorrt-rtx" else b"")
    assert (("cache", b"of last time") in world.said) == (either == "tensorrt-rtx")


def test_a_plan_fits_where_it_was_built(either):
    assert tensorrt.plan_unavailable_reason(tensorrt.environment(either)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "10.0.0"}, "built for version 10.0.0, and here is"),
        ({"system": "Plan 9"}, "built for system Plan 9"),
        ({"machine": "vax"}, "built for machine vax"),
    ],
)
def test_a_plan_of_elsewhere_does_not_fit(either, change, reason):
    assert reason in str(tensorrt.plan_unavailable_reason({**tensorrt.environment(either), **change}))


def test_a_plan_for_other_gpus_does_not_fit(either, monkeypatch):
    built = tensorrt.environment(either)
    monkeypatch.setattr(driver, "_driver", lambda: fake.Driver(capability=(12, 0), name="Another card"))
    if either == "tensorrt":
        assert "name A card" in str(tensorrt.plan_unavailable_reason(built))
    else:
        assert tensorrt.plan_unavailable_reason(built) is None
        built = tensorrt.environment(either, compute_capabilities=["8.6"])
        assert "built for compute capability 8.6, and here is 12.0" in str(tensorrt.plan_unavailable_reason(built))


def test_a_gpu_that_rtx_does_not_know(either, monkeypatch):
    monkeypatch.setattr(driver, "_driver", lambda: fake.Driver(capability=(9, 0), name="H200"))
    reason = tensorrt.run_unavailable_reason(either)
    if either == "tensorrt":
        assert reason is None
    else:
        assert "H200 has the compute capability 9.0; TensorRT-RTX runs on 8.6, 8.9, 12.0: use tensorrt" in str(reason)
