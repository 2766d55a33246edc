"""The CPU backends' own layers for DeformConv, against the definition in float64."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tests.compiler.graph.deforming import CASES, as_node
from tests.runtime.session import engines
from trtmatte.support.packages import release_of, version_of


@pytest.fixture(params=engines.BACKENDS)
def backend(request):
    if request.param == "onnxruntime" and release_of(version_of("onnxruntime") or "0") < (1, 25):
        pytest.skip("ONNX Runtime has DeformConv since 1.25")
    return importlib.import_module(f"trtmatte.backends.{engines.require(request.param)}")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_results_are_those_of_the_definition(case, backend):
    arrays = case.arrays()
    network = backend.Network(as_node(case, arrays).SerializeToString(), 1, 0)
    inputs = {name: arrays[name] for name in ("x", "offset", *(["mask"] if case.mask else []))}
    made = np.empty((case.batch, case.outputs, *case.result), np.float32)
    network.bind(inputs, {"y": made})()
    np.testing.assert_allclose(made, case.reference(arrays), atol=2e-4)
