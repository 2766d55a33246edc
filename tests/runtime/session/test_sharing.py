"""Several sessions, several threads, one engine."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.errors import BackendError, SettingError
from trtmatte.format.file import write
from trtmatte.runtime.choice import choose, choose_on_cpu
from trtmatte.runtime.networks import load_networks
from trtmatte.runtime.session.memory import HostMemory


def test_sessions_of_an_engine_share_its_networks(backend):
    engine = engines.memory.__wrapped__()
    choice = choose(backend, "cpu", engine)
    first, second = load_networks(engine, choice, 0), load_networks(engine, choice, 0)
    assert vars(first["network-0"]) == vars(second["network-0"])
    network = weakref.ref(vars(first["network-0"])["_network"])
    session = engine.session(backend=backend)
    del engine, first, second
    gc.collect()
    assert network() is not None
    session.close()
    del session
    gc.collect()
    assert network() is None


def test_sessions_side_by_side_do_not_meet(backend):
    engine = engines.memory()
    sessions = [engine.session(backend=backend) for _ in range(4)]
    plain = [engine.session(backend="onnxruntime") for _ in range(4)]
    for time in range(4):
        results = [session(engines.noise(10 * time + slot)) for slot, session in enumerate(sessions)]
        for slot, session in enumerate(plain):
            steps = results[slot].pha.astype(int) - session(engines.noise(10 * time + slot)).pha
            assert np.abs(steps).max() <= 1


def test_four_sessions_on_four_threads(backend):
    engine = engines.memory()
    expected = []
    for slot in range(4):
        session = engine.session(backend=backend)
        expected.append([session(engines.noise(20 * slot + time)).pha.copy() for time in range(20)])
    found: dict[int, list[np.ndarray]] = {}

    def work(slot):
        with engine.session(backend=backend) as session:
            found[slot] = [session(engines.noise(20 * slot + time)).pha.copy() for time in range(20)]

    together(work, 4)
    for slot in range(4):
        np.testing.assert_array_equal(found[slot], expected[slot])


def test_calls_of_several_threads_wait_for_each_other(backend):
    """Each frame counts once: the state is what the same frames in a row leave."""
    session, plain = (engines.memory().session(backend=backend) for _ in range(2))
    together(lambda slot: [session(engines.grey(102)) for _ in range(25)], 4)
    for _ in range(100):
        plain(engines.grey(102))
    assert session.stats().frames == 100
    np.testing.assert_array_equal(session.state["memory"], plain.state["memory"])


def together(work, count):
    errors = []

    def guarded(slot):
        try:
            work(slot)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(slot,)) for slot in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_auto_takes_the_fastest_that_is_installed(monkeypatch):
    installed = {"openvino", "onnxruntime"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in installed else None)
    assert choose_on_cpu("auto").name == "openvino"
    installed.remove("openvino")
    assert choose_on_cpu("auto").name == "onnxruntime"
    installed.clear()
    with pytest.raises(BackendError, match="pip install openvino"):
        choose_on_cpu("auto")


def test_a_session_says_what_runs_it(backend):
    session = engines.memory().session(backend=backend)
    assert session.backend == backend
    assert repr(session) == f"<Session memory tiny: fgr, pha by {backend} on cpu>"
    assert repr(engines.memory().session(backend=backend, batch=2, outputs="pha")).endswith("on cpu, 2 streams>")
    session.close()
    assert repr(session) == "<Session memory tiny: closed>"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"outputs": ("fgr", "depth")}, SettingError, "output is 'depth'; expected fgr, pha, rgba, composite, alpha"),
        ({"outputs": ()}, SettingError, "one at least"),
        ({"outputs": ("pha", "pha")}, SettingError, "each once"),
        ({"dtype": "int8"}, SettingError, "dtype is 'int8'; expected uint8, float16, float32"),
        ({"layout": "NHWC"}, SettingError, "layout is 'NHWC'; expected HWC, CHW"),
        ({"color": "yuv"}, SettingError, "color is 'yuv'; expected rgb, bgr"),
        ({"batch": 0}, SettingError, "multiple"),
        ({"ring": 0}, SettingError, "ring is 0"),
        ({"scene_cut": 2}, SettingError, "scene_cut is 2; expected a change between 0 and 1"),
        (
            {"backend": "abacus"},
            SettingError,
            "backend is 'abacus'; expected auto, tensorrt, tensorrt-rtx, onnxruntime, openvino",
        ),
        ({"device": "mps"}, SettingError, "device is 'mps'"),
    ],
)
def test_wrong_settings_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        engines.memory().session(**options)


def test_a_batch_is_a_multiple_of_the_engine_s():
    with pytest.raises(SettingError, match="batch is 3; this engine runs 2"):
        engines.memory(2).session(batch=3)
    assert engines.memory(2).session().state["memory"].shape[0] == 2


def test_a_network_that_the_library_cannot_load_is_the_backend_s_error(backend):
    good = engines.memory()
    network = good.network("network-0").replace(b"ReduceMean", b"NoSuchNode")
    bad = type(good).of(good.program, {"network-0": network})
    with pytest.raises(BackendError, match=r"the networks of the engine in memory cannot be used: .* cannot load the"):
        bad.session(backend=backend)


def test_errors_of_the_library_when_arrays_are_bound_name_the_network(backend, monkeypatch):
    def fail(network, inputs, outputs):
        raise RuntimeError("no room")

    monkeypatch.setattr(importlib.import_module(f"trtmatte.backends.{backend}").Network, "bind", fail)
    with pytest.raises(BackendError, match="the stage network-0 cannot be used: no room: build the engine again"):
        engines.memory().session(backend=backend)


def test_a_session_without_memory_is_an_error_of_ours(backend, monkeypatch):
    def fail(memory, shape, dtype):
        raise MemoryError

    monkeypatch.setattr(HostMemory, "zeros", fail)
    with pytest.raises(BackendError, match="there is no memory for a session of the engine"):
        engines.memory().session(backend=backend)


def test_an_engine_is_given_by_its_path(tmp_path, backend):
    write(engines.memory(), tmp_path / "tiny.trtm")
    session = trtmatte.Session(tmp_path / "tiny.trtm", backend=backend)
    assert session(engines.noise(1)).pha.any()
    assert trtmatte.Session(str(tmp_path / "tiny.trtm")).engine.path == tmp_path / "tiny.trtm"


def test_running_needs_neither_what_builds_nor_the_other_backend(tmp_path, backend):
    """An engine runs where torch and onnx are absent."""
    write(engines.memory(), tmp_path / "tiny.trtm")
    absent = {"torch", "onnx", "av", "tensorrt", "PIL", *engines.BACKENDS} - {backend}
    code = f"""
import sys
for name in {sorted(absent)!r}:
    sys.modules[name] = None
import numpy as np, trtmatte
session = trtmatte.Session({str(tmp_path / "tiny.trtm")!r})
assert session.backend == {backend!r}
frame = np.full((24, 32, 3), 102, np.uint8)
assert (session(frame).pha == 51).all()
names = {{name.removeprefix("trtmatte.") for name in sys.modules if name.startswith("trtmatte.")}}
building = {{name for name in names if name.startswith(("compiler.graph.", "compiler.families.", "families"))}}
tables = {{"flags", "kinds", "registry", "catalog"}}  # of options, and the names of models
assert building <= {{"compiler.graph.keep_fp32", *("compiler.families." + name for name in tables)}}, building
"""
    subprocess.run([sys.executable, "-c", code], check=True)
