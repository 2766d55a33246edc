"""ONNX files, read as far as an engine relies on them, without any library: a small reader of protobuf's wire format.

A network in an engine is self-contained and made of standard operators. Runtimes read external data from wherever the
file says, and operators of other domains may load libraries or files, so that neither may reach a runtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from trtmatte.errors import ModelError
from trtmatte.format.stages import PATCHES, NetworkStage, Tensor
from trtmatte.format.values import shown

__all__ = ["NetworkFile", "Value", "check_network", "read_network"]

Shape = tuple[int | str | None, ...]


class Value(NamedTuple):
    """The type of an input or output. Sizes are numbers, names, or None where the file has neither."""

    dtype: str
    shape: Shape | None


class NetworkFile(NamedTuple):
    """The inputs and outputs of a network by name."""

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]


_DTYPES: Final = {1: "float32", 6: "int32", 10: "float16"}
_DOMAINS: Final = (b"", b"ai.onnx")
_LARGEST: Final = (1 << 31) - 1  # bytes of a protobuf message
_MOST_FIELDS: Final = 4_000_000
_DEEPEST: Final = 24  # graphs in each other

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_TAGS: Final = 1 << 32  # numbers and types of fields; what is above is cut off by some readers
_SIZES: Final = {_FIXED_64: 8, _FIXED_32: 4}

# The messages of ONNX, and the numbers of the fields that hold others. All that is not here holds numbers and texts.
_INNER: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_REFUSED: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {20: "training information", 25: "functions of its own"},
    "graph": {},
    "node": {},
    "attribute": {},
    "sparse tensor": {},
    "tensor": {13: "data in other files", 14: "data in other files"},
}
_PLAIN: Final = {"attribute": re.compile(rb"(?:[^\x2a\x32\x52\x5a\x80-\xff]|\xa0\x01)*")}
"""Messages that hold no others, most of them: they lack the bytes with which a field of `_INNER` begins. Numbers of
fields above 15, and detours that write a small one long, begin with a byte above 127. A0 01 is an attribute's type.
"""
_DOMAIN: Final = 7  # of a node
_INPUT, _OUTPUT = 11, 12  # of a graph


def read_network(data: bytes) -> NetworkFile:
    """The inputs and outputs of a network. A ModelError refuses what is no ONNX, or what reaches out of the file."""
    if len(data) > _LARGEST:
        raise ModelError(f"it has {len(data)} bytes; expected at most {_LARGEST}")
    reader = _Reader(data)
    reader.walk("model", 0, len(data), 0)
    if not reader.graphs:
        raise ModelError("it holds no ONNX graph")
    inputs, outputs = (
        dict(reader.value(*place) for start, end in reader.graphs for place in reader.inner(start, end, field))
        for field in (_INPUT, _OUTPUT)
    )
    return NetworkFile(inputs, outputs)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_FIELDS
        self.graphs: list[tuple[int, int]] = []
        """The places of the model's graph. Protobuf joins the parts of a message that is there several times."""

    def walk(self, kind: str, start: int, end: int, depth: int) -> None:
        """Check a message and all that it holds."""
        if depth > 3 * _DEEPEST:
            raise ModelError("it has graphs too deep in each other")
        inner, refused = _INNER[kind], _REFUSED[kind]
        for number, wire, first, last in self.fields(start, end):
            if number in inner:
                if wire == _BYTES and not self._is_plain(inner[number], first, last):
                    self.walk(inner[number], first, last, depth + 1)
                    if kind == "model":
                        self.graphs.append((first, last))
            elif number in refused and (wire != _VARINT or first):
                raise ModelError(f"it has {refused[number]}; expected all of it in one file")
            elif number == _DOMAIN and kind == "node" and self._data[first:last] not in _DOMAINS:
                domain = shown(self._data[first:last].decode(errors="replace"))
                raise ModelError(f"it has operators of the domain {domain}; expected standard ONNX operators alone")

    def _is_plain(self, kind: str, start: int, end: int) -> bool:
        return kind in _PLAIN and _PLAIN[kind].fullmatch(self._data, start, end) is not None

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """The fields of a message: number, wire type, and the place of the bytes. A varint has its value third."""
        data = self._data
        while start < end:
            tag = data[start]
            start += 1
            if tag > 127:
                tag, start = self._varint(start - 1, end)
            wire = tag & 7
            if wire == _BYTES and start < end:
                size, first = data[start], start + 1
                if size > 127:
                    size, first = self._varint(start, end)
                start = first + size
            elif wire == _VARINT:
                first, start = self._varint(start, end)
            elif wire in _SIZES:
                first, start = start, start + _SIZES[wire]
            else:
                raise _damaged()
            if start > end or not 8 <= tag < _TAGS:
                raise _damaged()
            self._left -= 1
            if self._left < 0:
                raise ModelError(f"it has more than {_MOST_FIELDS} fields; expected weights in few tensors")
            yield tag >> 3, wire, first, start

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        """A number, and the place behind it."""
        value = shift = 0
        for place in range(start, min(start + 10, end)):
            byte = self._data[place]
            if byte < 128:
                return value | byte << shift, place + 1
            value |= (byte & 127) << shift
            shift += 7
        raise _damaged()

    def inner(self, start: int, end: int, field: int) -> Iterator[tuple[int, int]]:
        """The places of a field that holds bytes."""
        return ((first, last) for number, wire, first, last in self.fields(start, end) if (number, wire) == (field, 2))

    def text(self, start: int, end: int) -> str:
        try:
            return self._data[start:end].decode()
        except UnicodeDecodeError as error:
            raise ModelError(f"it has a name that is no text ({error})") from error

    def value(self, start: int, end: int) -> tuple[str, Value]:
        """Name and type of an input or output (ValueInfoProto)."""
        name, dtype = "", 0
        shape: list[int | str | None] | None = None
        for number, wire, first, last in self.fields(start, end):
            if (number, wire) == (1, _BYTES):
                name = self.text(first, last)
            elif (number, wire) == (2, _BYTES):
                for tensor in self.inner(first, last, 1):
                    for inside, kind, low, high in self.fields(*tensor):
                        if (inside, kind) == (1, _VARINT):
                            dtype = low
                        elif (inside, kind) == (2, _BYTES):
                            shape = [*(shape or []), *(self._size(*place) for place in self.inner(low, high, 1))]
        return name, Value(_DTYPES.get(dtype, f"the type {dtype}"), None if shape is None else tuple(shape))

    def _size(self, start: int, end: int) -> int | str | None:
        size: int | str | None = None
        for number, wire, first, last in self.fields(start, end):
            if (number, wire) == (1, _VARINT):
                size = first
            elif (number, wire) == (2, _BYTES):
                size = self.text(first, last)
        return size


def _damaged() -> ModelError:
    return ModelError("it is no ONNX file, or a damaged one")


def check_network(data: bytes, stage: NetworkStage | None, tensors: Mapping[str, Tensor], *, narrow: bool) -> None:
    """Refuse a network that reaches out of its file, or whose inputs and outputs are not those of its stage.

    With `narrow` they may be float16 where the program has float32.
    """
    found = read_network(data)
    for names, puts in () if stage is None else ((stage.inputs, found.inputs), (stage.outputs, found.outputs)):
        if puts.keys() != set(names):
            raise ModelError(
                f"it has {', '.join(map(shown, puts)) or 'nothing'} where the program has {', '.join(names)}"
            )
        for name in names:
            tensor, put = tensors[name], puts[name]
            dtypes = (tensor.dtype, "float16") if narrow and tensor.dtype == "float32" else (tensor.dtype,)
            if put.dtype not in dtypes or not _same_shape(put.shape, tensor.shape):
                raise ModelError(
                    f"it has {name} as {put.dtype} {shown(put.shape)}, the program as {tensor.dtype} {tensor.shape}"
                )


def _same_shape(found: Shape | None, expected: tuple[int | str, ...]) -> bool:
    return (
        found is not None
        and len(found) == len(expected)
        and all(
            size == wanted or (wanted == PATCHES and not isinstance(size, int))
            for size, wanted in zip(found, expected, strict=True)
        )
    )
