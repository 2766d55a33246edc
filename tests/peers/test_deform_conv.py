"""DeformConv: the layer of torchvision, and the files of the exporter with which BiRefNet's are made."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from tests.compiler.graph.deforming import CASES, Case
from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.deform_conv import restored, sampled
from trtmatte.compiler.graph.onnx_graph import attributes
from trtmatte.compiler.graph.specialise import specialise

torchvision: Any = pytest.importorskip("torchvision")

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def layer(case: Case, arrays: Arrays) -> Any:
    """A module that reads x, offset and mask."""

    class Layer(nn.Module):
        def forward(self, x: Any, offset: Any, mask: Any) -> Any:
            weights, bias = (torch.from_numpy(arrays[name]) for name in ("weights", "bias"))
            return torchvision.ops.deform_conv2d(
                x,
                offset,
                weights,
                bias if case.bias else None,
                case.strides,
                case.pads,
                case.dilations,
                mask if case.mask else None,
            )

    return Layer()


def given(case: Case, arrays: Arrays) -> tuple[Any, ...]:
    return tuple(torch.from_numpy(arrays[name]) for name in ("x", "offset", "mask"))


def test_the_definition_is_that_of_torchvision(case: Case) -> None:
    arrays = case.arrays()
    made = layer(case, arrays)(*given(case, arrays)).numpy()
    np.testing.assert_allclose(made, case.reference(arrays), atol=2e-4)


@pytest.fixture(params=[True, False], ids=["GatherND", "GatherElements"])
def exporter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter, which looks for a module of PyTorch where older versions had it."""
    types = importlib.import_module("torch.onnx._internal.torchscript_exporter._type_utils")
    monkeypatch.setitem(sys.modules, "torch.onnx._type_utils", types)
    module = pytest.importorskip("deform_conv2d_onnx_exporter")
    module.register_deform_conv2d_onnx_op(use_gathernd=request.param)


def test_files_of_the_exporter_are_recognised(case: Case, exporter: None) -> None:
    arrays = case.arrays()
    file: Any = io.BytesIO()
    names = ["x", "offset", "mask"][: 3 if case.mask else 2]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            layer(case, arrays),
            given(case, arrays),
            file,
            input_names=names,
            output_names=["y"],
            opset_version=17,
            dynamo=False,
        )
    graph = reading.from_model(onnx.load_from_string(file.getvalue()))
    specialise(graph, {name: arrays[name].shape for name in graph.inputs})
    found = restored(graph.model())
    kinds = {node.op_type for node in found.graph.node}
    assert "DeformConv" in kinds
    assert not kinds & {"GatherND", "GatherElements", "Floor"}
    (node,) = (each for each in found.graph.node if each.op_type == "DeformConv")
    assert tuple(attributes(node)["pads"][:2]) == case.pads
    session = onnxruntime.InferenceSession(sampled(found).SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {each.name: arrays[each.name] for each in session.get_inputs()})
    np.testing.assert_allclose(made, case.reference(arrays), atol=2e-4)
