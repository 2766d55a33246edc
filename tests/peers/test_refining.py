"""`refine` on the synthetic subject before photographs of scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage")

from skimage import data

from benchmarks import composites
from tools import edges
from trtmatte.reports.measures import measure


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
@pytest.mark.parametrize("size", [(320, 320), (512, 288)])
def test_edges_are_closer_to_the_truth(name, size):
    background = composites.photograph(getattr(data, name)(), edges.SIZE)
    frame = composites.composite(composites.subject(edges.SIZE, 4), background)
    small = composites.network_like(composites.reduced(frame.alpha, size))
    resized, refined = (
        measure(
            np.array(edges._matte(edges._session(small, refine=refine, raw=True), frame.picture).alpha), frame.alpha
        )
        for refine in (False, True)
    )
    for each in ("sad", "mse", "gradient", "connectivity"):
        assert getattr(refined, each) < 0.95 * getattr(resized, each)
