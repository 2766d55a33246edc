"""Weights that an ONNX model keeps in files beside it. They are checked and read here, before onnx sees them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, helper

from trtmatte.errors import ModelError
from trtmatte.support.beside import open_beside
from trtmatte.support.text import shown

__all__ = ["embed", "messages", "tensors"]

_LARGEST: Final = 2 << 30  # bytes of all tensors together, which is what a model in one file can have
_DEEPEST: Final = 100  # as protobuf's own limit


def tensors(model: ModelProto) -> list[TensorProto]:
    """All tensors of a model, wherever they are, whose values are in other files."""
    found = [each for each in messages(model) if isinstance(each, TensorProto)]
    return [each for each in found if each.data_location == TensorProto.EXTERNAL or each.external_data]


def embed(model: ModelProto, path: Path) -> None:
    """Read the values of all tensors that are in files beside the model at `path`. Raises a ModelError or OSError."""
    left = _LARGEST
    for tensor in tensors(model):
        size = _size(tensor, path)
        left -= size
        if left < 0:
            raise ModelError(f"{path} has more than {_LARGEST} bytes of weights in other files; expected at most that")
        tensor.raw_data = _read(tensor, path, size)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def messages(message: Message, depth: int = 0) -> Iterator[Message]:
    """A message and all messages within it. Raises a ModelError for deep nests and damaged text."""
    if depth > _DEEPEST:
        raise ModelError(f"the model is nested deeper than {_DEEPEST} messages; expected fewer graphs within graphs")
    yield message
    for field, value in message.ListFields():
        several = value if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else (value,)
        if field.message_type is not None:
            for each in several:
                yield from messages(each, depth + 1)
        elif field.type == field.TYPE_STRING:
            _check_text(several)


def _check_text(texts: Iterable[Any]) -> None:
    """Refuse names in bytes of something else, which protobuf returns as they are, or raises an error for."""
    try:
        whole = all(isinstance(each, str) for each in texts)
    except UnicodeDecodeError:
        whole = False
    if not whole:
        raise ModelError("the model has names that are not UTF-8; it is damaged: download or export it again")


def _size(tensor: TensorProto, path: Path) -> int:
    """The bytes of a tensor's values."""
    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} has the tensor {shown(tensor.name)!r} of no known type in another file") from error
    if tensor.data_type == TensorProto.STRING or any(size < 0 for size in tensor.dims):
        raise ModelError(f"{path} has the tensor {shown(tensor.name)!r} in another file, which holds no numbers")
    count: int = math.prod(tensor.dims)
    return count * int(item)


def _read(tensor: TensorProto, path: Path, size: int) -> bytes:
    about: dict[str, Any] = {each.key: each.value for each in tensor.external_data}
    name, offset, length = about.get("location", ""), about.get("offset", "0"), about.get("length", str(size))
    with os.fdopen(open_beside(path, name), "rb") as file:
        held = os.fstat(file.fileno()).st_size
        start = _number(offset)
        if start is None or _number(length) != size or start + size > held:
            raise ModelError(
                f"{path} has {size} bytes of {shown(tensor.name)!r} in {shown(name)!r}, at offset {shown(offset)!r} "
                f"with length {shown(length)!r}; that file has {held} bytes: export it again"
            )
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise ModelError(f"{path} keeps weights in {shown(name)!r}, which became shorter while it was read")
    return content


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
