"""The stand-in for `cuda.core` has no method that the real one lacks, and takes no arguments that that one refuses."""

from __future__ import annotations

import inspect

import pytest

from tests.runtime.session import fake_cuda

core = pytest.importorskip("cuda.core")
from cuda.bindings import driver  # noqa: E402
from cuda.core import utils  # noqa: E402

CLASSES = {
    "Buffer": core.Buffer,
    "Device": core.Device,
    "Event": core.Event,
    "Graph": core.graph.Graph,
    "GraphBuilder": core.graph.GraphBuilder,
    "LegacyPinnedMemoryResource": core.LegacyPinnedMemoryResource,
    "Stream": core.Stream,
    "StridedMemoryView": utils.StridedMemoryView,
}
METHODS = [
    (name, method)
    for name in CLASSES
    for method in vars(getattr(fake_cuda, name))
    if not method.startswith("_") or method == "__dlpack__"
]


@pytest.mark.parametrize(("name", "method"), METHODS, ids=".".join)
def test_arguments(name, method):
    """What can be passed to the stand-in can be passed to the real one, and what has to be there has to be here."""
    ours = inspect.signature(getattr(getattr(fake_cuda, name), method)).parameters
    theirs = inspect.signature(getattr(CLASSES[name], method)).parameters
    for parameter in ours.values():
        assert parameter.name in theirs
        assert parameter.kind == theirs[parameter.name].kind
        assert parameter.default in (theirs[parameter.name].default, inspect.Parameter.empty)
    required = {each.name for each in theirs.values() if each.default is inspect.Parameter.empty}
    assert required <= ours.keys()
    positional = [each.name for each in theirs.values() if each.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert [each for each in ours if each in positional] == positional[: sum(each in positional for each in ours)]


def test_attributes():
    for name, attribute in (
        ("Buffer", "handle"),
        ("Buffer", "size"),
        ("Stream", "handle"),
        *(("StridedMemoryView", each) for each in ("ptr", "shape", "strides", "dtype", "readonly")),
    ):
        assert hasattr(CLASSES[name], attribute), f"{name}.{attribute}"


def test_driver():
    for function, arguments in (("cuCtxGetCurrent", ()), ("cuCtxSetCurrent", ("context",))):
        inspect.signature(getattr(driver, function)).bind(*arguments)
