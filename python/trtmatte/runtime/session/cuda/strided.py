"""The geometry of a strided array: numpy's shapes, strides and slices for memory that the host cannot read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Strided"]


@dataclass(frozen=True, slots=True)
class Strided:
    """The places of an array's elements. `strides` are in bytes."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, address: int, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None) -> Strided:
        """Without `strides` the array is packed, in C order."""
        kind = np.dtype(dtype)
        if any(size < 0 for size in shape):
            raise ValueError(f"the shape is {shape}; expected no negative sizes")
        if strides is None:
            strides = _packed(shape, kind.itemsize)
        if len(strides) != len(shape):
            raise ValueError(f"the shape is {shape} and the strides are {strides}; expected as many of each")
        return cls(address, shape, strides, kind)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def span(self) -> tuple[int, int]:
        """The first address and the number of bytes of the memory from the first element to the last."""
        if not self.size:
            return self.address, 0
        reach = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        first, last = (sum(sign * max(sign * step, 0) for step in reach) for sign in (-1, 1))
        return self.address + first, last - first + self.dtype.itemsize

    @property
    def is_packed(self) -> bool:
        """Report if the elements lie side by side in C order. The stride of a dimension of one element is ignored."""
        expected = _packed(self.shape, self.dtype.itemsize)
        return not self.size or all(
            size == 1 or stride == packed
            for size, stride, packed in zip(self.shape, self.strides, expected, strict=True)
        )

    def __getitem__(self, key: Any) -> Strided:
        """Indices as numpy takes them: whole numbers, slices and `...`."""
        keys = _complete(key if isinstance(key, tuple) else (key,), len(self.shape))
        address, shape, strides = self.address, [], []
        for each, size, stride in zip(keys, self.shape, self.strides, strict=True):
            if isinstance(each, slice):
                start, stop, step = each.indices(size)
                count = len(range(start, stop, step))
                address += start * stride if count else 0
                shape.append(count)
                strides.append(stride * step)
            else:
                index = each.__index__()
                if not -size <= index < size:
                    raise IndexError(f"index {index} is out of bounds for a dimension of {size}")
                address += (index + size if index < 0 else index) * stride
        return Strided(address, tuple(shape), tuple(strides), self.dtype)

    def broadcast_to(self, shape: tuple[int, ...]) -> Strided:
        """The same elements in a larger shape, repeated by strides of zero."""
        more = len(shape) - len(self.shape)
        old = (1,) * more + self.shape
        if more < 0 or any(size not in (1, wanted) for size, wanted in zip(old, shape, strict=True)):
            raise ValueError(f"an array of {self.shape} cannot be broadcast to {shape}")
        pairs = zip(old, (0,) * more + self.strides, shape, strict=True)
        strides = tuple(0 if size == 1 and wanted != 1 else stride for size, stride, wanted in pairs)
        return Strided(self.address, shape, strides, self.dtype)


def _packed(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[dimension + 1 :]) for dimension in range(len(shape)))


def _complete(keys: tuple[Any, ...], dimensions: int) -> list[Any]:
    """One index for each dimension: `...` and what is missing at the end stand for whole dimensions."""
    dots = sum(each is Ellipsis for each in keys)
    missing = dimensions - (len(keys) - dots)
    if dots > 1 or missing < 0:
        raise IndexError(f"{len(keys)} indices for an array of {dimensions} dimensions")
    at = next((place for place, each in enumerate(keys) if each is Ellipsis), len(keys))
    return [*keys[:at], *[slice(None)] * missing, *keys[at + dots :]]
