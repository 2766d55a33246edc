"""Which backend a session gets, and why not a better one."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import cast

import numpy as np
import onnx
import pytest

from tests.backends import fake_tensorrt
from tests.runtime.session import engines
from trtmatte.api import Engine
from trtmatte.backends import cuda, driver, onnxruntime_cuda, tensorrt
from trtmatte.backends.tensorrt.network import Network
from trtmatte.errors import BackendError, SettingError
from trtmatte.format.file import Plan
from trtmatte.runtime import choice
from trtmatte.runtime.choice import choose
from trtmatte.runtime.networks import load_networks

ENGINE = engines.memory()


@pytest.fixture(autouse=True)
def nothing_was_said():
    """As in a process that has opened no session."""
    choice._warn_once.cache_clear()
    yield
    choice._warn_once.cache_clear()


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A GPU, a core and `cuda.core` that go with it, and a cache of its own. Nothing runs networks on it yet."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path))
    monkeypatch.setattr(driver, "_driver", fake_tensorrt.Driver)
    monkeypatch.setattr(cuda, "unavailable_reason", lambda device: None)
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: "it lacks CUDA")


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def target(request, gpu, monkeypatch):
    """A flavour of TensorRT that is installed."""
    install(monkeypatch, request.param)
    return request.param


def install(monkeypatch, target):
    module = target.replace("-", "_")
    version = {"tensorrt": "10.16.1", "tensorrt-rtx": "1.7.1"}[target]
    monkeypatch.setitem(sys.modules, module, fake_tensorrt.bindings(fake_tensorrt.World(), module, version))


@pytest.fixture
def built(monkeypatch):
    """Names of what is really built."""
    names, build_plan = [], tensorrt.build_plan

    def counted(*arguments, name, **more):
        names.append(name)
        return build_plan(*arguments, name=name, **more)

    monkeypatch.setattr(tensorrt, "build_plan", counted)
    return names


def fresh(plans=()):
    """The engine as another process would load it."""
    return Engine.of(ENGINE.program, {"network-0": bytes(ENGINE.network("network-0"))}, plans=plans)


def with_plan(target, **environment):
    info = {"environment": {**tensorrt.environment(target), **environment}}
    return fresh([Plan(target, "a1", {"network-0": b"a plan"}, info)])


def chosen(backend, device, engine):
    found = choose(backend, device, engine)
    return found.backend.name, found.device, found.key


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("named", [False, True], ids=["auto", "named"])
def test_a_plan_that_fits_is_taken(named, target, built, caplog):
    choice = choose(target if named else "auto", None, with_plan(target))
    assert (choice.backend.name, choice.device, choice.key) == (target, 0, "a1")
    assert not built
    assert not caplog.records


@pytest.mark.parametrize("plan", ["none", "of another version"])
def test_where_none_fits_one_is_built_once(plan, target, built, caplog):
    engine = fresh() if plan == "none" else with_plan(target, version="9")
    with caplog.at_level(logging.INFO, "trtmatte"):
        choice = choose("auto", None, engine)
    assert (choice.backend.name, choice.device) == (target, 0)
    assert choice.key not in ("", "a1")
    assert built == ["network-0"]
    title = tensorrt.title(target)
    assert warned(caplog) == [f"{engine} has no {title} plan for this GPU: building one, once, which takes a while"]
    assert f"{target} network-0: 100 %" in caplog.text
    caplog.clear()
    again = fresh() if plan == "none" else with_plan(target, version="9")
    assert chosen("auto", None, engine) == chosen(target, "cuda:0", again) == (target, 0, choice.key)
    assert built == ["network-0"], "the second one is taken from the cache"
    assert not warned(caplog)


class Memory:
    """The device memory of a session, as far as loading networks needs it."""

    cuda_stream = 1

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)


def test_what_was_built_is_what_runs(target, built):
    engine = fresh()
    loaded = (load_networks(engine, choose("auto", None, engine), 0, Memory()) for _ in range(2))
    first, second = (cast(Network, each["network-0"]) for each in loaded)
    assert first._plan.target == target
    assert first._plan is second._plan, "sessions share it"


def test_a_plan_that_fits_is_stronger_than_a_better_one_to_be_built(gpu, built, monkeypatch):
    for target in tensorrt.TARGETS:
        install(monkeypatch, target)
    assert choose("auto", None, with_plan("tensorrt-rtx")).backend.name == "tensorrt-rtx"
    assert not built
    assert choose("auto", None, fresh()).backend.name == "tensorrt"


def test_where_a_plan_cannot_be_built_the_next_best_runs_it(target, monkeypatch, caplog):
    def refuse(*_, **__):
        raise BackendError("it cannot build network-0 because of node Conv_8: leave it out")

    monkeypatch.setattr(tensorrt, "build_plan", refuse)
    assert choose("auto", None, fresh()).device is None
    (line,) = warned(caplog)
    assert line.startswith("running on the CPU: ")
    assert "it lacks CUDA" in line
    assert "because of node Conv_8" in line
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    assert chosen("auto", None, fresh()) == ("onnxruntime", 0, "")
    for place in (None, "cuda:0"):
        with pytest.raises(BackendError, match="cannot run on cuda:0: it cannot build network-0 because of node"):
            choose(target, place, fresh())


def test_errors_of_libraries_that_build_plans_are_reasons(target, monkeypatch, caplog):
    def fail(*_, **__):
        raise KeyError("a node that a stranger wrote")

    monkeypatch.setattr(tensorrt, "build_plan", fail)
    assert choose("auto", None, fresh()).device is None
    assert "cannot build a plan of the engine's networks: 'a node that a stranger wrote'" in warned(caplog)[0]
    with pytest.raises(BackendError, match="cannot build a plan of the engine's networks"):
        choose(target, None, fresh())


def test_a_plan_cannot_be_built_without_onnx(target, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match="building a plan of an engine's networks needs onnx: pip install onnx"):
        choose(target, None, fresh())


def test_a_build_that_is_stopped_leaves_nothing(target, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tensorrt, "build_plan", stop)
    with pytest.raises(KeyboardInterrupt):
        choose("auto", None, fresh())
    assert not list(tmp_path.rglob("*.trtm"))


def test_auto_takes_onnxruntime_without_tensorrt(gpu, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    assert chosen("auto", None, ENGINE) == ("onnxruntime", 0, "")
    assert chosen("onnxruntime", "cuda:2", ENGINE) == ("onnxruntime", 2, "")


def test_a_gpu_that_cannot_be_used_is_worth_a_line(gpu, caplog):
    assert choose("auto", None, ENGINE).device is None
    assert warned(caplog) == [
        "running on the CPU: TensorRT is not installed: pip install --upgrade tensorrt; "
        "TensorRT-RTX is not installed: pip install --upgrade tensorrt-rtx; it lacks CUDA"
    ]
    with pytest.raises(BackendError, match=r"cannot run on cuda:0: .*it lacks CUDA"):
        choose("auto", "cuda", ENGINE)


def test_that_line_comes_once_in_a_process(gpu, caplog, monkeypatch):
    for _ in range(3):
        choose("auto", None, ENGINE)
        choose("auto", None, fresh())
    assert len(warned(caplog)) == 1
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: "it lacks something else")
    choose("auto", None, ENGINE)
    assert len(warned(caplog)) == 2, "another reason is worth another line"


@pytest.fixture
def no_gpu(monkeypatch):
    def missing():
        raise BackendError("there is no driver: install it")

    monkeypatch.setattr(driver, "_driver", missing)


def test_without_a_gpu_nothing_is_said(no_gpu, caplog):
    assert choose("auto", None, ENGINE).device is None
    assert not caplog.records


def test_an_engine_with_plans_was_meant_for_a_gpu(no_gpu, caplog):
    engine = fresh([Plan("tensorrt-rtx", "a1", {"network-0": b"a plan"}, {})])
    assert choose("auto", None, engine).device is None
    assert warned(caplog) == ["running on the CPU: there is no driver: install it"]
    caplog.clear()
    assert choose("auto", "cpu", engine).device is None
    assert not caplog.records


@pytest.mark.parametrize("options", [{"backend": "tensorrt"}, {"device": "cuda"}, {"backend": "tensorrt-rtx"}])
def test_what_is_impossible_is_refused_with_the_reason(options, no_gpu):
    with pytest.raises(BackendError, match="there is no driver: install it"):
        ENGINE.session(**options)


@pytest.mark.parametrize(
    ("backend", "place", "error"),
    [("tensorrt", "cpu", BackendError), ("openvino", "cuda", BackendError), ("abacus", "cuda", SettingError)],
)
def test_what_does_not_go_together_is_refused(backend, place, error):
    with pytest.raises(error):
        choose(backend, place, ENGINE)


def test_a_session_on_the_cpu_imports_nothing_of_cuda():
    code = (
        "import sys; from tests.runtime.session import engines; s = engines.memory().session(device='cpu');"
        "s(engines.grey(9)); print([n for n in ('cuda', 'cuda.core', 'tensorrt', 'tensorrt_rtx', 'torch')"
        " if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def refused_by_openvino():
    """An engine with a node that ONNX Runtime alone knows. It hands on what it reads."""
    model = onnx.load_from_string(bytes(ENGINE.network("network-0")))
    (last,) = (node for node in model.graph.node if "ones" in node.output)
    last.output[0] = "alone"
    pooled = ["pooled", "places"]
    model.graph.node.append(onnx.helper.make_node("MaxPool", ["alone"], pooled, kernel_shape=[1, 1]))
    model.graph.node.append(onnx.helper.make_node("MaxUnpool", pooled, ["ones"], kernel_shape=[1, 1]))
    return Engine.of(ENGINE.program, {"network-0": model.SerializeToString()})


@pytest.mark.parametrize("where", [None, "cpu"])
def test_onnx_runtime_takes_the_networks_that_openvino_refuses(where, caplog):
    engines.require("openvino")
    engine = refused_by_openvino()
    with engine.session(device=where) as session, session.fork() as twin:
        assert session.backend == twin.backend == "onnxruntime"
        frame = engines.noise(0)
        np.testing.assert_array_equal(session(frame)["pha"], ENGINE.session(backend="onnxruntime")(frame)["pha"])
    engine.session(device=where).close()
    assert warned(caplog) == [
        f"running on ONNX Runtime: the networks of {engine} cannot be used: network-0: OpenVINO cannot load the "
        "network: No conversion rule found for operations: MaxUnpool-17"
    ]


def test_a_backend_that_is_named_is_not_exchanged():
    engines.require("openvino")
    with pytest.raises(BackendError, match="OpenVINO cannot load the network: No conversion rule") as raised:
        refused_by_openvino().session(backend="openvino")
    assert "\n" not in str(raised.value)


def test_networks_that_no_backend_takes(caplog):
    engines.require("openvino")
    network = bytes(ENGINE.network("network-0")).replace(b"ReduceMean", b"NoSuchNode")
    with pytest.raises(BackendError, match="ONNX Runtime cannot load the network"):
        Engine.of(ENGINE.program, {"network-0": network}).session(device="cpu")
    (warning,) = warned(caplog)
    assert "OpenVINO cannot load the network" in warning
