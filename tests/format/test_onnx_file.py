"""Networks reach nothing outside of their file, and are what the program says: checked before any runtime sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.runtime.session import engines
from trtmatte.api import Engine
from trtmatte.errors import EngineError, ModelError
from trtmatte.format.file import CPU_PLAN, CUDA_PLAN, Plan
from trtmatte.format.onnx_file import read_network


def network() -> ModelProto:
    return onnx.load_from_string(engines.memory().network("network-0"))


def external(tensor: TensorProto, location: str = "/etc/passwd") -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def scalar() -> TensorProto:
    return numpy_helper.from_array(np.float32(1), "secret")


def initializer(model: ModelProto) -> None:
    external(model.graph.initializer[0])


def location_alone(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def entries_alone(model: ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights")


def memory_of_the_process(model: ModelProto) -> None:
    external(model.graph.initializer[0], "*/_ORT_MEM_ADDR_/*")


def node(model: ModelProto, **attributes: object) -> NodeProto:
    made: NodeProto = model.graph.node.add(op_type="Constant", output=["secret"])
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


def constant(model: ModelProto) -> None:
    node(model, value=external(scalar()))


def list_of_tensors(model: ModelProto) -> None:
    made = node(model)
    made.attribute.add(name="values", type=AttributeProto.TENSORS).tensors.append(external(scalar()))


def sparse_constant(model: ModelProto) -> None:
    attribute = node(model).attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(external(scalar()))


def sparse_initializer(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().indices.CopyFrom(external(scalar()))


def in_a_branch(model: ModelProto) -> None:
    inner = helper.make_graph([], "branch", [], [], [external(scalar())])
    node(model, then_branch=inner)


def deep_in_branches(model: ModelProto) -> None:
    inner = helper.make_graph([], "branch", [], [], [external(scalar())])
    for _ in range(6):
        inner = helper.make_graph([helper.make_node("If", ["c"], ["o"], then_branch=inner)], "branch", [], [])
    node(model, then_branch=inner)


def written_long(model: ModelProto) -> bytes:
    """Protobuf takes numbers with more bytes than they need, which a search for the usual ones would miss."""
    constant(model)
    data = model.SerializeToString()
    attribute = model.graph.node[-1].attribute[0].SerializeToString()
    tensor = external(scalar()).SerializeToString()
    usual = b"\x2a" + length(tensor) + tensor
    assert attribute.count(usual) == 1
    long = attribute.replace(usual, b"\xaa\x80\x00" + length(tensor) + tensor)
    found = ModelProto()
    whole = helper.make_node("Constant", [], ["secret"]).SerializeToString() + b"\x2a" + length(long) + long
    node_ = b"\x0a" + length(whole) + whole
    data = network().SerializeToString() + b"\x3a" + length(node_) + node_  # protobuf joins the two graphs
    found.ParseFromString(data)
    assert found.graph.node[-1].attribute[0].t.external_data
    return data


def test_fields_that_are_written_long_are_found() -> None:
    with pytest.raises(ModelError, match=ELSEWHERE):
        read_network(written_long(network()))


def training(model: ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(external(scalar()))


def functions(model: ModelProto) -> None:
    model.functions.add(name="f", domain="").node.append(helper.make_node("Constant", [], ["x"]))


def domain(name: str, op: str) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.node[0].domain, model.graph.node[0].op_type = name, op

    return change


def in_a_branch_of_another_domain(model: ModelProto) -> None:
    inner = helper.make_node("EPContext", [], ["o"], domain="com.microsoft", ep_cache_context="../x")
    node(model, then_branch=helper.make_graph([inner], "branch", [], []))


ELSEWHERE = "has data in other files; expected all of it in one file"
HOSTILE = {
    "an initializer": (initializer, ELSEWHERE),
    "a location without entries": (location_alone, ELSEWHERE),
    "entries without a location": (entries_alone, ELSEWHERE),
    "an address of the process": (memory_of_the_process, ELSEWHERE),
    "a constant": (constant, ELSEWHERE),
    "a list of tensors": (list_of_tensors, ELSEWHERE),
    "a sparse constant": (sparse_constant, ELSEWHERE),
    "a sparse initializer": (sparse_initializer, ELSEWHERE),
    "a branch": (in_a_branch, ELSEWHERE),
    "a branch of a branch": (deep_in_branches, ELSEWHERE),
    "training": (training, "has training information"),
    "functions": (functions, "has functions of its own"),
    "a cached context of a runtime": (
        domain("com.microsoft", "EPContext"),
        "has operators of the domain 'com.microsoft'",
    ),
    "a library of operators": (domain("ai.onnx.contrib", "PyOp"), "has operators of the domain 'ai.onnx.contrib'"),
    "a domain in a branch": (in_a_branch_of_another_domain, "has operators of the domain 'com.microsoft'"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_network_that_reaches_out_is_refused(
    change: Callable[[ModelProto], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network, and as each plan that is ONNX."""
    monkeypatch.chdir(tmp_path)
    model = network()
    change(model)
    hostile, good = model.SerializeToString(), engines.memory()
    engine = Engine.of(good.program, {"network-0": hostile})
    with pytest.raises(EngineError, match=f"network-0.onnx in .* cannot be used: it {message}.*; do not use this file"):
        engine.session(backend="onnxruntime")
    for target, key in (CPU_PLAN, CUDA_PLAN):
        plan = Plan(target, key, {"network-0": hostile})
        engine = Engine.of(good.program, {"network-0": good.network("network-0")}, plans=[plan])
        with pytest.raises(EngineError, match=message):
            engine.plan(target, key, "network-0")


def renamed(model: ModelProto) -> None:
    model.graph.input[0].name = "other"


def wider(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 1 << 20


def halved(model: ModelProto) -> None:
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.FLOAT16


def more(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])
    model.graph.output[-1].name = "more"


def shapeless(model: ModelProto) -> None:
    model.graph.output[2].type.tensor_type.ClearField("shape")


OTHERS = {
    "another name": (renamed, "it has 'other', 'memory' where the program has frame_sm, memory"),
    "a larger output": (wider, r"it has memory_next as float32 \(1, 1, 12, 1048576\), the program as float32"),
    "another type": (halved, "it has alpha as float16"),
    "one output more": (more, "'more' where the program has memory_next, alpha, ones"),
    "no shape": (shapeless, "it has ones as float32 None"),
}


@pytest.mark.parametrize(("change", "message"), OTHERS.values(), ids=OTHERS)
def test_a_network_of_another_program_is_refused(change: Callable[[ModelProto], None], message: str) -> None:
    model = network()
    change(model)
    engine = Engine.of(engines.memory().program, {"network-0": model.SerializeToString()})
    with pytest.raises(EngineError, match=message):
        engine.session(backend="onnxruntime")


def test_inputs_and_outputs_are_read_as_onnx_reads_them() -> None:
    model = network()
    found = read_network(model.SerializeToString())
    for values, puts in ((model.graph.input, found.inputs), (model.graph.output, found.outputs)):
        assert [each.name for each in values] == list(puts)
        for each in values:
            assert puts[each.name].shape == tuple(size.dim_value for size in each.type.tensor_type.shape.dim)
            assert puts[each.name].dtype == "float32"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x3a",
        b"\x3a\x7f",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x3b\x3c",
        b"\x02\x00",
        b"\xba\x80\x80\x80\x10\x00",
        b"ORTM" * 4,
        b"<?xml version='1.0'?><net/>",
    ],
)
def test_what_is_no_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"it is no ONNX file|it holds no ONNX graph"):
        read_network(data)


def test_fields_without_end_are_not_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtmatte.format.onnx_file._MOST_FIELDS", 1000)
    with pytest.raises(ModelError, match="more than 1000 fields"):
        read_network(b"\x08\x08" * 1001)


def test_graphs_without_end_in_each_other_are_refused() -> None:
    inner = b""
    for _ in range(2000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # the graph of an attribute, of a node, of a graph
            inner = tag + length(inner) + inner
    with pytest.raises(ModelError, match="too deep"):
        read_network(b"\x3a" + length(inner) + inner)


def length(data: bytes) -> bytes:
    size, found = len(data), bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size])
