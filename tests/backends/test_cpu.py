"""The backends of the CPU: bound to arrays, they read and write them in place."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.api import Engine
from trtmatte.errors import BackendError
from trtmatte.format.file import CPU_PLAN, Plan
from trtmatte.runtime.choice import choose
from trtmatte.runtime.networks import load_networks

SHAPES = {"frame_sm": (1, 3, 12, 16), **dict.fromkeys(("memory", "memory_next", "alpha", "ones"), (1, 1, 12, 16))}


@pytest.fixture(params=engines.BACKENDS)
def backend(request):
    return engines.require(request.param)


def arrays():
    return {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


def bind(engine, backend, tensors):
    (stage,) = engine.program.networks
    network = load_networks(engine, choose(backend, "cpu", engine), 0)[stage.name]
    return network.bind({name: tensors[name] for name in stage.inputs}, {name: tensors[name] for name in stage.outputs})


def test_a_run_reads_and_writes_the_arrays_that_it_is_bound_to(backend):
    tensors = arrays()
    run = bind(engines.memory(), backend, tensors)
    for value in (0.2, 0.6):
        tensors["frame_sm"][:] = value
        tensors["memory"][:] = 0.5
        run()
        np.testing.assert_allclose(tensors["memory_next"], 0.25 + value / 2, atol=1e-6)
        assert (tensors["ones"] == 1).all()


def test_runs_of_one_network_do_not_meet(backend):
    sides = [arrays() for _ in range(3)]
    runs = [bind(engines.memory(), backend, tensors) for tensors in sides]
    for index, tensors in enumerate(sides):
        tensors["memory"][:] = index
    for run in runs:
        run()
    for index, tensors in enumerate(sides):
        np.testing.assert_allclose(tensors["memory_next"], index / 2, atol=1e-6)


def test_a_run_keeps_its_arrays(backend):
    """The runtimes know addresses alone: arrays that nobody else holds must not go."""
    tensors = arrays()
    watched = weakref.ref(tensors["memory"]), weakref.ref(tensors["alpha"])
    run = bind(engines.memory(), backend, tensors)
    del tensors
    gc.collect()
    assert all(each() is not None for each in watched)
    run()
    del run
    gc.collect()
    assert all(each() is None for each in watched)


def test_the_form_for_cpus_is_taken_where_the_engine_has_it(backend):
    plain = engines.memory()
    network = bytes(plain.network("network-0"))
    rotten = network.replace(b"ReduceMean", b"NoSuchNode")
    good = Engine.of(plain.program, {"network-0": rotten}, plans=[Plan(*CPU_PLAN, {"network-0": network})])
    tensors = arrays()
    bind(good, backend, tensors)()
    assert (tensors["ones"] == 1).all()
    other = Engine.of(plain.program, {"network-0": network}, plans=[Plan("tensorrt", "x", {"network-0": b"?"})])
    bind(other, backend, tensors)()
    with pytest.raises(BackendError):
        bind(Engine.of(plain.program, {"network-0": rotten}), backend, tensors)


def test_a_backend_that_is_missing_says_how_to_get_it(backend, monkeypatch):
    module = importlib.import_module(f"trtmatte.backends.{backend}")
    monkeypatch.setitem(sys.modules, backend, None)
    if backend == "openvino":
        module._core.cache_clear()
    with pytest.raises(BackendError, match=f"is not installed: pip install {backend}"):
        module.Network(b"", 1, 0)


def test_damaged_networks_in_openvino_s_cache_are_compiled_again(tmp_path, monkeypatch):
    """One changed bit gave other results, or hung."""
    engines.require("openvino")
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path))
    module = importlib.import_module("trtmatte.backends.openvino")
    network = engines.memory().network("network-0")
    module.Network(network, 1, 0)
    (cached,) = (tmp_path / "openvino").iterdir()
    content = cached.read_bytes()
    assert (tmp_path / "openvino").stat().st_mode & 0o777 == 0o700
    given = []
    core = module._core()

    class Watched:
        def __getattr__(self, name):
            return getattr(core, name)

        def import_model(self, data, *rest):
            given.append(data.getvalue())
            return core.import_model(data, *rest)

    monkeypatch.setattr(module, "_core", Watched)
    module.Network(network, 1, 0)
    assert given == [content[32:]], "the good one is used"
    for damage in (
        content[:100] + bytes([content[100] ^ 1]) + content[101:],
        bytes([content[0] ^ 1]) + content[1:],
        content[:-1],
        b"",
    ):
        cached.write_bytes(damage)
        given.clear()
        module.Network(network, 1, 0)
        assert not given, "no damaged one reaches OpenVINO"
        module.Network(network, 1, 0)
        assert len(given) == 1, "and it is written again"
    module.Network(network, 2, 0)
    assert len(list((tmp_path / "openvino").iterdir())) == 2, "other options have another file"
