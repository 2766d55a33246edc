"""Strided shapes against numpy: the same slices, broadcasts and flags, without reading the memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtmatte.runtime.session.cuda.strided import Strided

SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=5).map(tuple)


def strided(array: np.ndarray) -> Strided:
    return Strided.of(array.ctypes.data, array.shape, array.dtype, array.strides)


def assert_alike(ours: Strided, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert ours.nbytes == theirs.nbytes
    assert ours.is_packed == theirs.flags.c_contiguous
    if theirs.size:
        assert ours.address == theirs.ctypes.data
        lasting = [place for place, size in enumerate(theirs.shape) if size > 1]
        assert [ours.strides[place] for place in lasting] == [theirs.strides[place] for place in lasting]


@given(SHAPES, st.data(), st.sampled_from(["uint8", "float16", "float32"]))
def test_slices(shape: tuple[int, ...], data: st.DataObject, dtype: str) -> None:
    theirs = np.zeros(shape, dtype)
    ours = Strided.of(theirs.ctypes.data, shape, dtype)
    assert_alike(ours, theirs)
    for _ in range(2):
        if not theirs.ndim:
            break
        keys: list[object] = []
        for size in theirs.shape[: data.draw(st.integers(0, theirs.ndim))]:
            if size and data.draw(st.booleans()):
                keys.append(data.draw(st.integers(-size, size - 1)))
            else:
                keys.append(data.draw(st.slices(size)))
        if data.draw(st.booleans()):
            keys.insert(data.draw(st.integers(0, len(keys))), ...)
        if ... in keys:  # the keys after it count from the end
            keys = keys[: keys.index(...) + 1]
        whole = tuple(keys) if ... in keys else (*keys, ...)  # with dots numpy gives an array and never a number
        theirs, ours = theirs[whole], ours[whole]
        assert_alike(ours, theirs)


@given(SHAPES, st.data())
def test_keys_on_both_sides_of_dots(shape: tuple[int, ...], data: st.DataObject) -> None:
    theirs = np.zeros(shape, "uint16")
    before = data.draw(st.integers(0, len(shape)))
    after = data.draw(st.integers(before, len(shape)))
    slices = [data.draw(st.slices(size)) for size in (*shape[:before], *shape[after:])]
    keys = (*slices[:before], ..., *slices[before:])
    assert_alike(strided(theirs)[keys], theirs[keys])


@given(SHAPES, st.data())
def test_random_broadcasts(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Of arrays that are packed, and of those that run backwards."""
    more = data.draw(st.lists(st.integers(0, 3), max_size=2))
    wanted = (*more, *(data.draw(st.integers(0, 4)) if size == 1 else size for size in shape))
    theirs = np.zeros(shape, np.float32)
    for array in (theirs, theirs[::-1], theirs[..., ::-2]):
        to = wanted if array.shape == shape else (*more, *array.shape)
        assert_alike(strided(array).broadcast_to(to), np.broadcast_to(array, to))


def test_keys_after_dots_count_from_the_end() -> None:
    array = np.zeros((2, 3, 4, 5), np.uint8)
    assert_alike(strided(array)[..., 1:3, ::-2], array[..., 1:3, ::-2])
    assert_alike(strided(array)[1, ..., 2], array[1, ..., 2])


@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 4, 3, 5), (4, 3, 1, 5)])
def test_broadcasts(shape: tuple[int, ...]) -> None:
    array = np.zeros((1, 3, 1, 5), np.float32) if len(shape) == 4 else np.zeros((3, 5), np.float32)
    try:
        theirs = np.broadcast_to(array, shape)
    except ValueError:
        with pytest.raises(ValueError, match="cannot be broadcast"):
            strided(array).broadcast_to(shape)
        return
    assert_alike(strided(array).broadcast_to(shape), theirs)


def test_what_numpy_refuses_is_refused() -> None:
    array = strided(np.zeros((2, 3), np.uint8))
    with pytest.raises(IndexError, match="index 2 is out of bounds for a dimension of 2"):
        array[2]
    with pytest.raises(IndexError, match="3 indices for an array of 2 dimensions"):
        array[0, 0, 0]
    with pytest.raises(ValueError, match="no negative sizes"):
        Strided.of(0, (-1,), "uint8")
    with pytest.raises(ValueError, match="expected as many of each"):
        Strided.of(0, (1, 2), "uint8", (1,))
