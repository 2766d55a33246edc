"""PatchSelect: the patches with the largest errors."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import maps
from trtmatte import ops


@pytest.mark.parametrize(("name", "grid", "k"), [("HD", (270, 480), 5000), ("4K", (540, 960), 20000)])
def test_patch_select(benchmark, place, name, grid, k):
    """Measured for information, without a goal: no array is as large as a frame."""
    err = maps(1, *grid)
    shapes = {"indices": ((k, 3), np.int32), "count": ((1,), np.int32), "ref": ((1, 1, *grid), np.float32)}
    reference = body("PatchSelect", {"err": err}, height=grid[0], width=grid[1], k=k, capacity=k)

    def bind() -> Call:
        out = {name: place.put(np.empty(shape, dtype)) for name, (shape, dtype) in shapes.items()}
        on_place = place.put(err)
        options = {**place.options, **place.workspace(ops.patch_select_workspace(1, *grid))}
        return lambda: ops.patch_select(on_place, grid[0], grid[1], k=k, **out, **options)

    out = dict(zip(shapes, bind()(), strict=True))
    for output, value in reference().items():
        np.testing.assert_array_equal(place.get(out[output]), value)
    moved = size_of(err, *out.values())
    race(benchmark, place, f"PatchSelect {name} k={k}", bind, {"body": reference}, moved)
