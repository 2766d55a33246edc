"""Tensors as files describe them: a part of a storage. The bytes are read when the tensor is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["REBUILD", "Foreign", "Storage", "StoredTensor", "Type", "UnreadableError"]


class UnreadableError(ValueError):
    """The reason why a file is not read. With `whole` it is all that is to be said, otherwise the file is damaged."""

    def __init__(self, reason: str, *, whole: bool = False) -> None:
        super().__init__(reason)
        self.whole = whole


@dataclass(frozen=True)
class Foreign:
    """Something that a file holds and that no network needs, such as a sparse tensor."""

    what: str

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True)
class Type:
    """The type of elements, by PyTorch's name."""

    name: str
    size: int

    @classmethod
    def named(cls, name: str) -> Type | None:
        """The type that a class of storages or a dtype of PyTorch stands for."""
        return _TYPES.get(_STORAGES.get(name, name))


_TYPES: Final = {
    name: Type(name, size)
    for size, names in {
        1: ("uint8", "int8", "bool"),
        2: ("int16", "float16", "bfloat16"),
        4: ("int32", "float32"),
        8: ("int64", "float64"),
    }.items()
    for name in names
}
_STORAGES: Final = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
    "UntypedStorage": "uint8",
}


@dataclass(frozen=True)
class Storage:
    """Bytes in a file. `read` returns them; views of one storage get the same bytes."""

    type: Type
    read: Callable[[], bytearray]


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage. Its numbers come from the file and are checked when the tensor is made."""

    storage: Storage
    type: Type
    offset: Any
    shape: Any
    stride: Any

    @property
    def bytes(self) -> int:
        """The size of the tensor in memory. Raises `UnreadableError` for a shape that is none."""
        for numbers in (self.shape, self.stride, (self.offset,)):
            if not isinstance(numbers, tuple) or not all(type(each) is int and 0 <= each < 1 << 48 for each in numbers):
                raise UnreadableError("the shape, stride or offset of a tensor in it is none")
        if len(self.shape) != len(self.stride) or len(self.shape) > 16:
            raise UnreadableError(f"a tensor in it has {len(self.shape)} dimensions and {len(self.stride)} strides")
        count: int = math.prod(self.shape)
        return count * self.type.size

    def tensor(self) -> Tensor:
        """The tensor, with memory of its own. Raises `UnreadableError` if it is not within its storage."""
        import torch

        dtype = getattr(torch, self.type.name)
        if not self.bytes:
            return torch.empty(self.shape, dtype=dtype)
        data = self.storage.read()
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        held = len(data) // self.type.size
        if last >= held:
            raise UnreadableError(f"a tensor in it ends at element {last} of a storage that holds {held}")
        flat = torch.frombuffer(data, dtype=dtype, count=held)
        view = flat.as_strided(self.shape, self.stride, self.offset)
        return view.clone(memory_format=torch.contiguous_format)


def _view(storage: Any, offset: Any, shape: Any, stride: Any, *_others: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return StoredTensor(storage, storage.type, offset, shape, stride)


def _typed_view(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, kind: Any, *_others: Any
) -> StoredTensor:
    if not isinstance(storage, Storage) or not isinstance(kind, Type):
        raise TypeError("a tensor without a storage or a type")
    return StoredTensor(storage, kind, offset, shape, stride)


def _foreign(what: str) -> Callable[..., Foreign]:
    return lambda *arguments: Foreign(what)


REBUILD: Final[Mapping[str, Callable[..., Any]]] = {
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_tensor_v3": _typed_view,
    "torch._utils._rebuild_qtensor": _foreign("quantised tensor"),
    "torch._utils._rebuild_sparse_tensor": _foreign("sparse tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _foreign("tensor without values"),
    "torch.jit._pickle.build_tensor_from_id": _foreign("reference to a constant"),
}
"""How PyTorch's functions that make tensors are read."""
