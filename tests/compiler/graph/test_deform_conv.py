"""DeformConv: recognised where it is decomposed, and written with GridSample, with the same result."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.deforming import CASES, Case, as_node, decomposed
from trtmatte.compiler.graph import reading
from trtmatte.compiler.graph.deform_conv import columns, restored, sampled
from trtmatte.compiler.graph.deform_conv import sampling as writing
from trtmatte.compiler.graph.onnx_graph import Graph, attributes
from trtmatte.compiler.graph.opset import raise_to
from trtmatte.compiler.graph.specialise import specialise
from trtmatte.errors import ModelError


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def case(request):
    return request.param


def run(model, arrays):
    """Older versions of ONNX Runtime know no newer opsets."""
    known = 22 if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 22) else 21
    if model.opset_import[0].version > known:
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} knows opset {known} at most")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: arrays[each.name] for each in session.get_inputs()})[0]


def simplified(model):
    """As the families leave it: with shapes, and without nodes that do nothing."""
    graph = Graph(model)
    specialise(graph, {})
    return graph.model()


def kinds(model):
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("opset", [19, 22])
def test_sampling_has_the_result_of_the_definition(case, opset):
    arrays = case.arrays()
    written = sampled(simplified(as_node(case, arrays, opset)))
    assert "DeformConv" not in kinds(written)
    np.testing.assert_allclose(run(written, arrays), case.reference(arrays), atol=2e-4)


@pytest.mark.parametrize("pixels", [True, False], ids=["GatherND", "GatherElements"])
def test_decomposed_forms_are_recognised(case, pixels):
    arrays = case.arrays()
    model = decomposed(case, arrays, pixels=pixels)
    np.testing.assert_allclose(run(model, arrays), case.reference(arrays), atol=2e-4)
    found = restored(simplified(model))
    assert kinds(found) <= {"DeformConv", "Add"}
    onnx.checker.check_model(found, full_check=True)
    (node,) = (each for each in found.graph.node if each.op_type == "DeformConv")
    settings = attributes(node)
    assert tuple(settings["kernel_shape"]) == case.kernel
    assert (settings["group"], settings["offset_group"]) == (case.group, case.offset_group)
    assert tuple(settings["pads"][:2]) == case.pads
    np.testing.assert_allclose(run(sampled(found), arrays), case.reference(arrays), atol=2e-4)


def test_pieces_add_up(monkeypatch):
    case = Case(kernel=(3, 3), batch=2, bias=True)
    arrays = case.arrays()
    whole = sampled(simplified(as_node(case, arrays)))
    assert sum(node.op_type == "GridSample" for node in whole.graph.node) == 1
    tap = 4 * case.batch * case.channels * 9 * 11
    for largest, count in ((2 * tap, 5), (1, 9)):
        monkeypatch.setattr(writing, "LARGEST_PIECE", largest)
        pieces = sampled(simplified(as_node(case, arrays)))
        assert sum(node.op_type == "GridSample" for node in pieces.graph.node) == count
        np.testing.assert_allclose(run(pieces, arrays), case.reference(arrays), atol=2e-4)


def test_models_without_it_are_not_touched():
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], []),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    assert restored(model) is model
    assert sampled(model) is model
    assert columns(model) == 0


def test_columns_are_counted():
    case = Case(kernel=(7, 7), pads=(3, 3), channels=4, batch=2)
    assert columns(simplified(as_node(case, case.arrays()))) == 4 * 2 * 4 * 49 * 9 * 11


def _constant(model, name, change):
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).copy()
            tensor.CopyFrom(numpy_helper.from_array(change(array), name))


def _node(model, kind, index=0):
    return [node for node in model.graph.node if node.op_type == kind][index]


def _set(node, name, value):
    (attribute,) = (each for each in node.attribute if each.name == name)
    attribute.CopyFrom(helper.make_attribute(name, value))


def _swap(node):
    node.input[:] = [node.input[1], node.input[0]]


def _other_weight(model):
    """The weights of the upper left pixel for the lower right one."""
    products = [node for node in model.graph.node if node.op_type == "Mul"]
    products[0].input[:] = products[2].input


CHANGES = {
    "the frame is of ones": lambda model: _node(model, "Pad").input.append(
        next(each.name for each in model.graph.initializer if numpy_helper.to_array(each).tolist() == 1.0)
    ),
    "the picture is mirrored around": lambda model: _set(_node(model, "Pad"), "mode", "reflect"),
    "no frame on one side": lambda model: _constant(model, _node(model, "Pad").input[1], lambda pads: pads * 0),
    "rounded up": lambda model: setattr(_node(model, "Floor"), "op_type", "Ceil"),
    "clipped too far inside": lambda model: _constant(model, _node(model, "Clip").input[2], lambda last: last - 1),
    "clipped too early": lambda model: _constant(model, _node(model, "Clip").input[1], lambda first: first + 1),
    "another neighbour": lambda model: _constant(model, _node(model, "Add", 1).input[1], lambda one: one + 1),
    "columns before rows": lambda model: _swap(_node(model, "Concat")),
    "weights of another pixel": _other_weight,
    "weights that do not add up": lambda model: _constant(model, _node(model, "Sub", 1).input[0], lambda one: one * 2),
    "positions that bend": lambda model: _constant(model, _node(model, "Add").input[0], lambda place: place**1.5),
    "positions between pixels": lambda model: _constant(model, _node(model, "Add").input[0], lambda place: place + 0.5),
    "a kernel that overlaps": lambda model: _set(_node(model, "Conv"), "strides", [1, 1]),
    "tiles of another order": lambda model: _set(_node(model, "Transpose", -1), "perm", [0, 1, 4, 3, 5, 2]),
    "three pixels": lambda model: _node(model, "Sum").input.pop(),
    "one pixel twice": lambda model: _node(model, "Sum").input.__setitem__(0, _node(model, "Sum").input[1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_computes_something_else_stays_as_it_is(change):
    case = Case()
    model = decomposed(case, case.arrays())
    model.graph.output[0].type.tensor_type.ClearField("shape")
    change(model)
    changed = simplified(model)
    assert restored(changed) is changed


def test_sums_may_be_nested():
    case = Case()
    arrays = case.arrays()
    model = decomposed(case, arrays)
    total = _node(model, "Sum")
    first, second, third, fourth = total.input
    place = list(model.graph.node).index(total)
    model.graph.node.insert(place, helper.make_node("Add", [first, second], ["two"]))
    model.graph.node.insert(place + 1, helper.make_node("Add", [third, "two"], ["three"]))
    total = _node(model, "Sum")
    total.op_type = "Add"
    total.input[:] = ["three", fourth]
    assert kinds(restored(simplified(model))) == {"DeformConv", "Add"}


def test_several_are_found_and_others_stay():
    """Two in a row, and beside them what only looks like one."""
    case = Case(channels=6)
    arrays = case.arrays()
    first = decomposed(case, arrays)
    second = onnx.compose.add_prefix(decomposed(case, arrays, pixels=False), "second/")
    joined = onnx.compose.merge_models(first, second, io_map=[("y", "second/x")])
    found = restored(simplified(joined))
    assert [node.op_type for node in found.graph.node].count("DeformConv") == 2
    assert "GatherND" not in kinds(found)
    bent = decomposed(case, arrays)
    CHANGES["rounded up"](bent)
    mixed = onnx.compose.merge_models(bent, second, io_map=[("y", "second/x")])
    found = restored(simplified(mixed))
    assert {"GatherND", "DeformConv"} <= kinds(found)
    assert "GatherElements" not in kinds(found)


def test_older_opsets_rise_with_it():
    """Reductions and splits are written in another way from opset 18 on."""
    case = Case(outputs=4)
    arrays = case.arrays()
    model = decomposed(case, arrays)
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.extend(
        [
            helper.make_node("Split", ["sum"], ["first", "second"], axis=1),
            helper.make_node("ReduceMean", ["first"], ["mean"], axes=[2, 3]),
            helper.make_node("ReduceMax", ["second"], ["largest"], axes=[1], keepdims=1),
            helper.make_node("Add", ["mean", "largest"], ["y"]),
        ]
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2, 9, 11]))
    expected = run(model, arrays)
    found = restored(simplified(model))
    assert found.opset_import[0].version == 19
    np.testing.assert_allclose(run(sampled(found), arrays), expected, atol=2e-4)


def test_exporters_for_older_opsets_may_write_it():
    case = Case()
    arrays = case.arrays()
    model = as_node(case, arrays)
    model.opset_import[0].version = 17
    graph = reading.from_model(model)
    specialise(graph, {})
    assert graph.opset == 19
    np.testing.assert_allclose(run(sampled(graph.model()), arrays), case.reference(arrays), atol=2e-4)


@pytest.mark.parametrize(("given", "wanted"), [(16, 19), (17, 20)])
def test_other_opsets_are_not_raised(given, wanted):
    model = as_node(Case(), Case().arrays())
    model.opset_import[0].version = given
    with pytest.raises(ModelError, match=f"opset {given} cannot be raised to {wanted}; expected 17 or later"):
        raise_to(Graph(model), wanted)


def test_weights_that_are_computed_leave_it_as_it_is():
    """Only constant weights can be cut into the taps."""
    model = as_node(Case(), Case().arrays())
    weights = model.graph.initializer[0]
    shape = list(weights.dims)
    del model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, shape))
    changed = simplified(model)
    assert sampled(changed) is changed
