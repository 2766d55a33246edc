"""ONNX files: damaged fields, names of other files, huge sizes, cycles, deep graphs and wrong types."""

from __future__ import annotations

import functools
import os
import random
import resource
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtmatte.compiler import importing
from trtmatte.compiler.graph import external_data, reading
from trtmatte.errors import TrtmatteError

__all__ = ["attack", "mutate", "seeds"]

_SECRET: Final = np.full(4, 1234.5, np.float32)
_GENERIC: Final = {"family": "generic", "size": (64, 48), "input_size": (32, 24)}
# By the version of the model, which says nothing else.
_OPTIONS: Final = (
    _GENERIC,
    *({"family": each, "size": (64, 48)} for each in (None, "rvm", "u2net", "modnet", "birefnet", "bgmv2")),
)
_MEMORY: Final = 1 << 30
_SECONDS: Final = 20
_INTEGERS: Final = (0, 1, -1, 2, 3, 7, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
_NAMES: Final = ("../secret", "weights.bin", "/etc/passwd", "link", "", ".", "x" * 300, "\x1b[2J", "\0")
_KINDS: Final = """
    Add Cast Concat ConstantOfShape Conv Expand Gather Identity If Loop MatMul NonZero Pad Range Reshape Resize Shape
    Slice Split Squeeze Tile Transpose Unsqueeze Upsample Where ImageDecoder SequenceAt BatchNormalization
"""


def seeds() -> list[bytes]:
    return [
        each.SerializeToString(deterministic=True)
        for each in (_alpha(17), _alpha(13), _several(), _bodies(), _outside())
    ]


def mutate(data: bytes, random: random.Random) -> bytes:
    """Change fields of the model, so that it stays valid protobuf."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:  # an earlier change of bytes damaged it
        return data
    with suppress(TrtmatteError, UnicodeDecodeError):  # names that an earlier change made no text
        if random.random() < 0.3:
            model.model_version = random.randrange(len(_OPTIONS))
        for _ in range(random.choice((1, 1, 2, 4))):
            _change(model, random)
    return model.SerializeToString()


def attack(data: bytes) -> bool:
    path = _folder() / "model.onnx"
    path.write_bytes(data)
    _import_all()
    try:
        model = reading.parse(path)
        external_data.embed(model, path)
        assert not any(_SECRET.tobytes()[:8] in each.raw_data for each in _tensors(model)), "another file was read"
    except (TrtmatteError, OSError):  # the importer gives an OSError a better name
        return False
    return _read_apart(path, model.model_version)


def _read_apart(path: Path, number: int) -> bool:
    """Read the model in a process, as `compiler.importing` does, which a library may end."""
    out, back = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_try_to_read(path, number, back))
    os.close(back)
    with os.fdopen(out, "rb") as file:
        said = file.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != -24, f"it was read for more than {_SECONDS} seconds"  # SIGXCPU
    assert code <= 1, said
    return code == 0


def _try_to_read(path: Path, number: int, back: int) -> int:
    """The exit status: 0 read, 1 refused with an error of trtmatte, 2 another error."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        importing._set_limits(_MEMORY)
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        importing._tried(path, _OPTIONS[number % len(_OPTIONS)])
        return 0
    except (TrtmatteError, MemoryError):
        return 1
    except BaseException:
        os.write(back, traceback.format_exc()[-4000:].encode())
        return 2


@functools.cache
def _import_all() -> None:
    """Read a model that is known to be harmless, so that all that reading needs is imported before a process begins."""
    path = _folder() / "first.onnx"
    path.write_bytes(_alpha(17).SerializeToString())
    importing._tried(path, _GENERIC)


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    shared = Path("/dev/shm")  # memory, where there is one
    place = tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)
    folder = Path(place.name) / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(np.ones(64, np.float32).tobytes())
    (folder.parent / "secret").write_bytes(_SECRET.tobytes())
    (folder / "link").symlink_to("../secret")
    return place


def _folder() -> Path:
    return Path(_place().name) / "model"


def _tensors(model: ModelProto) -> Iterator[Any]:
    return (each for each in external_data.messages(model) if isinstance(each, TensorProto))


# Seeds


def _model(graph: GraphProto, opset: int = 17) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="fuzz")


def _picture(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _weights(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.full(shape, 0.25, np.float32), name)


def _alpha(opset: int) -> ModelProto:
    """One picture in, one alpha out, with the computed sizes that exporters leave behind."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array([2, 3], np.int64))),
        helper.make_node("Gather", ["s", "two"], ["hw"]),
        helper.make_node("Cast", ["hw"], ["hw64"], to=TensorProto.INT64),
        helper.make_node("Shape", ["r"], ["rs"]),
        helper.make_node("Slice", ["rs", "zero", "end"], ["nc"]),
        helper.make_node("Concat", ["nc", "hw64"], ["all"], axis=0),
        helper.make_node("Resize", ["r", "", "", "all"], ["u"], mode="linear"),
        helper.make_node("Conv", ["u", "v"], ["l"]),
        helper.make_node("Sigmoid", ["l"], ["alpha"]),
    ]
    ends = [numpy_helper.from_array(np.array([each], np.int64), name) for name, each in (("zero", 0), ("end", 2))]
    weights = [_weights("w", 4, 3, 3, 3), _weights("b", 4), _weights("v", 1, 4, 1, 1), *ends]
    graph = helper.make_graph(
        nodes, "alpha", [_picture("x", 1, 3, "h", "w")], [_picture("alpha", 1, 1, "h", "w")], weights
    )
    return _model(graph, opset)


def _several() -> ModelProto:
    """A picture, a plate and a state, as RVM and BackgroundMattingV2 have them; all but the picture have values."""
    nodes = [
        helper.make_node("Concat", ["src", "bgr"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "r1i"], ["r1o"]),
        helper.make_node("Split", ["r1o"], ["front", "rest"], axis=1),
        helper.make_node("ReduceMean", ["rest"], ["mean"], axes=[1]),
        helper.make_node("Clip", ["mean", "low", "high"], ["out"]),
    ]
    bounds = [numpy_helper.from_array(np.array(each, np.float32), name) for name, each in (("low", 0), ("high", 1))]
    graph = helper.make_graph(
        nodes,
        "several",
        [_picture("src", 1, 3, 24, 32)],
        [_picture("out", 1, 1, 24, 32)],
        [_weights("w", 6, 6, 3, 3), _weights("bgr", 1, 3, 24, 32), _weights("r1i", 1, 6, 1, 1), *bounds],
    )
    return _model(graph)


def _bodies() -> ModelProto:
    """Graphs within graphs, float16, and values of other kinds."""
    inner = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["t"])], "then", [], [_picture("t", 1, 3, 24, 32)], [_weights("k", 1)]
    )
    outer = helper.make_graph([helper.make_node("Identity", ["x"], ["e"])], "else", [], [_picture("e", 1, 3, 24, 32)])
    nodes = [
        helper.make_node("If", ["yes"], ["i"], then_branch=inner, else_branch=outer),
        helper.make_node("Cast", ["i"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mul", ["half", "h"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["f"], ["y"], axes=[1]),
    ]
    weights = [numpy_helper.from_array(np.array(True), "yes"), numpy_helper.from_array(np.ones(1, np.float16), "h")]
    graph = helper.make_graph(nodes, "bodies", [_picture("x", 1, 3, 24, 32)], [_picture("y", 1, 1, 24, 32)], weights)
    return _model(graph)


def _outside() -> ModelProto:
    """Weights in another file."""
    model = _alpha(17)
    weights = model.graph.initializer[1]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    return model


# Changes


def _change(model: ModelProto, random: random.Random) -> None:
    messages = [each for each in external_data.messages(model) if each is not model]
    kind = random.random()
    nodes = [each for each in messages if isinstance(each, NodeProto)]
    if kind < 0.3 and nodes:
        _change_node(random.choice(nodes), nodes, random)
    elif kind < 0.4:
        _move_outside(
            random.choice([each for each in messages if isinstance(each, TensorProto)] or [TensorProto()]), random
        )
    elif kind < 0.45:
        _nest(model.graph, random)
    elif kind < 0.5:
        _double(model.graph, random)
    elif messages:
        _change_field(random.choice(messages), random)


def _change_node(node: NodeProto, nodes: list[NodeProto], random: random.Random) -> None:
    names = [name for each in nodes for name in (*each.input, *each.output)] or [""]
    what = random.random()
    if what < 0.3:
        node.op_type = random.choice(_KINDS.split())
    elif what < 0.6 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(names)  # a cycle, perhaps
    elif what < 0.75 and node.output:
        node.output[random.randrange(len(node.output))] = random.choice(names)
    elif what < 0.85:
        node.input.append(random.choice(names))
    elif node.attribute:
        attribute = random.choice(node.attribute)
        attribute.type = random.choice(list(AttributeProto.AttributeType.values()))
        attribute.name = random.choice([attribute.name, "axis", "axes", "to", "value", "pads", "mode"])


def _move_outside(tensor: TensorProto, random: random.Random) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, values in (
        ("location", _NAMES),
        ("offset", ("0", "-4", "8", "9" * 30)),
        ("length", ("16", "-1", "4", "x")),
    ):
        if random.random() < 0.9:
            tensor.external_data.add(key=key, value=random.choice(values))


def _nest(graph: GraphProto, random: random.Random) -> None:
    """Put a graph into a node, over and over."""
    body = GraphProto(name="b")
    for _ in range(random.choice((1, 5, 20, 30))):
        body = helper.make_graph(
            [helper.make_node("If", ["x"], ["d"], then_branch=body, else_branch=GraphProto())], "b", [], []
        )
    graph.node.extend(body.node)


def _double(graph: GraphProto, random: random.Random) -> None:
    """Add constants that grow with each node."""
    kind, name = random.choice(("Concat", "Tile", "Expand", "Mul")), "grows"
    graph.initializer.append(numpy_helper.from_array(np.arange(1, 9, dtype=np.int64), name))
    for number in range(random.choice((3, 3, 12, 16, 22))):
        settings = {"axis": 0} if kind == "Concat" else {}
        graph.node.insert(number, helper.make_node(kind, [name, name], [f"{name}{number}"], **settings))
        name = f"{name}{number}"
    if graph.node and graph.node[-1].input:
        graph.node[-1].input[0] = name


def _change_field(message: Message, random: random.Random) -> None:
    field = random.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if hasattr(value, "append") or hasattr(value, "add"):
        if len(value) and random.random() < 0.5:
            del value[random.randrange(len(value))]
        elif field.message_type is None:
            value.extend([_value(field, random)] * random.choice((1, 1, 2, 40)))
        elif len(value):
            value.add().CopyFrom(random.choice(value))
    elif field.message_type is not None:
        message.ClearField(field.name)
    elif field.enum_type is not None:
        setattr(message, field.name, random.choice(list(field.enum_type.values_by_number)))
    else:
        setattr(message, field.name, _value(field, random))


def _value(field: Any, random: random.Random) -> Any:
    if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_ENUM):
        return random.choice([each for each in _INTEGERS if abs(each) < 1 << 31])
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
        return random.choice([each for each in _INTEGERS if each >= 0 or field.cpp_type == field.CPPTYPE_INT64])
    if field.cpp_type == field.CPPTYPE_STRING:
        text = random.choice((*_NAMES, "x", "alpha", "w"))
        return text.encode() if field.type == field.TYPE_BYTES else text
    return random.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
