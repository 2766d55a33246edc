"""What the tests do in a process with one version of TensorRT. Each function is the whole life of a process."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtmatte.api import load
from trtmatte.backends.tensorrt import LoadedPlan, bindings, build
from trtmatte.errors import BackendError

Fields = Mapping[str, np.ndarray]


def every_node_lives(library: str, nodes: str) -> None:
    """Each node becomes a plugin with its own settings, is cloned, written into a plan and read back."""
    _load(library)
    lines = Path(nodes).read_text().splitlines()
    for op, fields in map(_read, lines):
        plugin = _make(op, fields)
        assert plugin is not None, op
        described = plugin.get_capability_interface(_trt().PluginCapabilityType.BUILD).metadata_string
        found = {name: values for name, _, values in _words(described)}
        assert found.keys() == _accepted(op).keys(), op
        for name, values in fields.items():
            np.testing.assert_array_equal(np.array(found[name].split(","), values.dtype), values, f"{op}: {name}")
    registry = ctypes.CDLL(f"libnvinfer.so.{_trt().__version__.partition('.')[0]}").getPluginRegistry
    registry.restype = ctypes.c_void_p
    lives = ctypes.CDLL(str(Path(library).with_name("plugin_lives.so"))).plugin_lives
    assert lives(ctypes.c_void_p(registry()), nodes.encode()) == 2 * len(lines) > 0


def wrong_fields_are_refused(library: str, nodes: str) -> None:
    """In our words, whatever the field."""
    _load(library)
    good = dict(map(_read, Path(nodes).read_text().splitlines()))
    assert len(good) == 6
    phases = _trt().TensorRTPhase
    for op, given in good.items():
        every = {name: np.zeros(size, dtype) for name, (dtype, size) in _accepted(op).items()}
        fields = {**every, **given}
        assert _make(op, fields, phases.RUNTIME) is not None
        _refused(op, {**fields, "surprise": np.array([1], np.int32)}, "the field surprise is unknown")
        for name, values in fields.items():
            kind = values.dtype.name
            left = {each: fields[each] for each in fields if each != name}
            _refused(op, left, f"the field {name} is missing", phases.RUNTIME)
            _refused(op, fields, f"the field {name} is given twice", more=[(name, values)])
            longer = {**fields, name: np.append(values, values[:1])}
            _refused(op, longer, f"the field {name} has {len(longer[name])} values; expected {len(values)}")
            _refused(op, {**fields, name: values.astype("float32" if kind == "int32" else "int32")}, f"must be {kind}")
            if kind == "int32":
                _refused(op, {**fields, name: values.astype("int64") + (1 << 40)}, "must be int32")


def loaded_twice_and_unloaded(library: str) -> None:
    """The registry takes a library once, and again after it was unloaded."""
    registry = _trt().get_plugin_registry()
    others = _creators()
    handle = registry.load_library(library)
    assert len(_creators() - others) == 6
    assert registry.load_library(library) is None
    assert len(_creators() - others) == 6
    registry.deregister_library(handle)
    assert _creators() == others
    _load(library)  # as the product does it, which asks the registry once
    _load(library)
    assert len(_creators() - others) == 6


def beside_the_plugins_of_nvidia(library: str, order: str) -> None:
    """Both libraries keep their plugins, whichever comes first."""
    own = _trt().init_libnvinfer_plugins
    logger = bindings.log("tensorrt").native
    if order == "first":
        _load(library)
        assert own(logger, "")
    else:
        assert own(logger, "")
        _load(library)
    found = _creators()
    assert sum(namespace == "trtmatte" for namespace, _, _ in found) == 6
    assert {name for _, name, _ in found} >= {"ROIAlign_TRT", "ScatterElements", "InstanceNormalization_TRT"}


def another_major_version_is_refused(library: str) -> None:
    before = _creators()
    with _heard() as words, pytest.raises(BackendError, match="build it for this TensorRT"):
        _load(library)
    assert "trtmatte's plugins: built for TensorRT" in words[0]
    assert "build trtmatte with that version's headers" in words[0]
    assert _creators() == before


def a_session_says_what_is_missing(engine: str, reason: str) -> None:
    """On the GPU; on the CPU, the same process still runs one."""
    opened = load(engine)
    for choice in ({"backend": "tensorrt"}, {"device": "cuda"}):
        with pytest.raises(BackendError) as raised:
            opened.session(**choice)
        assert str(raised.value) == f"the engine cannot run on cuda:0: {reason}"
    assert opened.session()(np.zeros((48, 64, 3), np.uint8)).pha.shape == (48, 64, 1)


def nothing_starts_without_a_driver() -> None:
    """Where the driver is not asked for before, the library's own error is raised, and the process lives on."""
    for start in (
        lambda: bindings.builder("tensorrt"),
        lambda: bindings.runtime("tensorrt"),
        lambda: LoadedPlan(b"a plan", target="tensorrt"),
    ):
        with pytest.raises(BackendError, match=r"does not start \(.*error: 35.*\): update the NVIDIA driver"):
            start()


# ---------------------------------------------------------------------------------------------------------------------


def _trt() -> Any:
    return bindings.load("tensorrt")


def _load(library: str) -> None:
    build._load_plugins(_trt(), Path(library))


def _creators() -> set[tuple[str, str, str]]:
    found = _trt().get_plugin_registry().all_creators
    return {(each.plugin_namespace, each.name, each.plugin_version) for each in found}


def _creator(op: str) -> Any:
    return _trt().get_plugin_registry().get_creator(op, "1", "trtmatte")


def _accepted(op: str) -> dict[str, tuple[str, int]]:
    """The fields of an op: their types and numbers of values."""
    types = {_trt().PluginFieldType.INT32: "int32", _trt().PluginFieldType.FLOAT32: "float32"}
    return {field.name: (types[field.type], field.size) for field in _creator(op).field_names}


def _read(line: str) -> tuple[str, Fields]:
    """A node of the file."""
    op, _, attributes = line.partition(" ")
    return op, {name: np.array(values.split(","), f"{kind}32") for name, kind, values in _words(attributes)}


def _words(text: str) -> Iterator[tuple[str, str, str]]:
    """The names, kinds and values of `name=kind:values`, or of `name=values`."""
    for word in text.split():
        name, _, value = word.partition("=")
        kind, _, values = value.rpartition(":")
        yield name, kind, values


def _make(op: str, fields: Fields, phase: Any = None, more: Any = ()) -> Any:
    trt = _trt()
    types = {"int32": trt.PluginFieldType.INT32, "int64": trt.PluginFieldType.INT64}
    types["float32"] = trt.PluginFieldType.FLOAT32
    given = [trt.PluginField(name, values, types[values.dtype.name]) for name, values in [*fields.items(), *more]]
    return _creator(op).create_plugin("a node", trt.PluginFieldCollection(given), phase or trt.TensorRTPhase.BUILD)


def _refused(op: str, fields: Fields, reason: str, phase: Any = None, more: Any = ()) -> None:
    with _heard() as words:
        assert _make(op, fields, phase, more) is None, f"{op}: {reason}"
    assert words[-1].startswith(f"{op}: ")
    assert reason in words[-1], f"{reason!r} is expected, not {words[-1]!r}"


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What the plugins say: to the standard error output, since TensorRT has a logger only while it has a builder."""
    words: list[str] = []
    with tempfile.TemporaryFile("w+") as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield words
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            words += file.read().splitlines()
