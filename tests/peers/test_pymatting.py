"""Our foreground against pymatting's multi-level estimate: the error of composites, and the time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pymatting")

from benchmarks import foreground

SIZE = (960, 540)


@pytest.mark.parametrize(("side", "left"), [(None, 0.45), (512, 0.35), (320, 0.35)])
def test_composites_are_as_good_as_those_of_pymatting(side, left):
    """Of what raw colours add to the smallest error there can be, we leave less than pymatting."""
    excess = {name: [] for name in foreground.METHODS}
    for scene in foreground.scenes(SIZE, side):
        best = foreground.error(scene, scene.foreground)
        for name, method in foreground.METHODS.items():
            excess[name].append(foreground.error(scene, method(scene)) - best)
    means = {name: np.mean(values) for name, values in excess.items()}
    assert means["trtmatte"] <= 1.1 * means["pymatting"], means
    assert means["trtmatte"] <= left * means["raw"], means


@pytest.mark.slow
@pytest.mark.parametrize("side", [320, 1024])
def test_ten_times_as_fast(side):
    found = foreground.times(next(foreground.scenes(side=side)))
    own = found["estimate"] + found["clean matte"] - found["raw matte"]
    assert found["pymatting"] >= 10 * own, found
