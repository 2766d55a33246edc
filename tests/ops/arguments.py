"""Arrays of every kind for the tests of the ops' arguments."""

from __future__ import annotations

import numpy as np

from tests.ops.specification import maps, picture
from trtmatte import ops

FRAME = picture(12, 16)
A, B = maps(4, 3, 4, seed=0), maps(4, 3, 4, seed=1)
EXPECTED = ops.guided_upsample(FRAME, A, B)
REFERENCE = dict(zip(("fgr", "pha"), EXPECTED, strict=True))


def guided(frame=FRAME, A=A, b=B, **settings):
    return ops.guided_upsample(frame, A, b, **settings)


def same(results):
    for actual, expected in zip(results, EXPECTED, strict=True):
        np.testing.assert_array_equal(actual, expected)


class Interface:
    """An object that has `__array_interface__` and nothing else."""

    def __init__(self, array, **changes):
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, **changes}


class Dlpack:
    """An object that has DLPack and nothing else; an old one does not know versions."""

    def __init__(self, array, versioned=True):
        self._array = array
        self._versioned = versioned

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()

    def __dlpack__(self, **arguments):
        if not self._versioned and "max_version" in arguments:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self._array.__dlpack__(**arguments)


def interface_of_bytes(array):
    """Like PIL: the memory is an object with the buffer protocol."""
    return Interface(array, data=array.tobytes(), strides=None)
